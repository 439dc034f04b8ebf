import cv2

from dd_sfm.io.image_files import silenced


def test_opencvs_messages_come_back_after_threads_that_read_at_once():
    before = cv2.utils.logging.getLogLevel()
    first, second = silenced(), silenced()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert cv2.utils.logging.getLogLevel() == cv2.utils.logging.LOG_LEVEL_SILENT
    second.__exit__(None, None, None)
    assert cv2.utils.logging.getLogLevel() == before
