// The report's 3D view. Everything it draws is in the page: <script id="clouds"> holds the points in base64.
"use strict";
(() => {
  const host = document.getElementById("view");
  const scene3d = JSON.parse(document.getElementById("clouds").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const floats = (text) => new Float32Array(bytes(text).buffer);
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const state = { colour: "photo", size: 3, cameras: true, split: scene3d.clouds.length > 1, turning: !still, shown: {} };

  let renderer;
  try {
    renderer = new THREE.WebGLRenderer({ antialias: true, preserveDrawingBuffer: true });
  } catch (error) {
    document.getElementById("view-note").textContent =
      "This browser has no WebGL: the pictures above show the clouds from fixed viewpoints.";
    document.getElementById("view-controls").hidden = true;
    host.hidden = true;
    return;
  }
  renderer.setPixelRatio(Math.min(devicePixelRatio || 1, 2));
  renderer.setClearColor(0xffffff, 1);
  renderer.autoClear = false;
  host.append(renderer.domElement);
  renderer.domElement.setAttribute("aria-label", "3D view of the clouds; drag to turn, wheel to zoom");

  // 256 colours between the stops in the page.
  const table = Array.from({ length: 256 }, (_, k) => {
    const at = (k / 255) * (scene3d.ramp.length - 1), low = Math.min(Math.floor(at), scene3d.ramp.length - 2);
    return scene3d.ramp[low].map((value, j) => value + (at - low) * (scene3d.ramp[low + 1][j] - value));
  });
  const colours = (values, [low, top], factor) => {
    const out = new Uint8Array(values.length * 3);
    for (let k = 0; k < values.length; k++) {
      const t = Math.min(255, Math.max(0, Math.round((255 * (values[k] * factor - low)) / (top - low || 1))));
      for (let j = 0; j < 3; j++) out[3 * k + j] = table[t][j];
    }
    return out;
  };

  const vertex = `
    attribute vec3 tint; uniform float size; varying vec3 shade;
    void main() { shade = tint; gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0); gl_PointSize = size; }`;
  const fragment = `
    varying vec3 shade;
    void main() { vec2 d = gl_PointCoord - 0.5; if (dot(d, d) > 0.25) discard; gl_FragColor = vec4(shade, 1.0); }`;

  const entries = scene3d.clouds.map((cloud) => {
    const geometry = new THREE.BufferGeometry();
    geometry.setAttribute("position", new THREE.BufferAttribute(floats(cloud.xyz), 3));
    const tints = {
      photo: bytes(cloud.rgb),
      error: colours(new Uint16Array(bytes(cloud.error).buffer), scene3d.ranges.error, 0.001),
      length: colours(bytes(cloud.length), scene3d.ranges.length, 1),
      uncertainty: cloud.uncertainty
        ? colours(new Uint16Array(bytes(cloud.uncertainty).buffer), scene3d.ranges.uncertainty, 1e-4) : undefined,
    };
    const material = new THREE.ShaderMaterial({
      uniforms: { size: { value: state.size } }, vertexShader: vertex, fragmentShader: fragment,
    });
    const points = new THREE.Points(geometry, material);
    points.frustumCulled = false;
    const group = new THREE.Group();
    group.add(points);
    const cameras = frusta(cloud);
    group.add(cameras);
    state.shown[cloud.name] = true;
    return { cloud, geometry, material, points, group, cameras, tints };
  });

  // A small pyramid for some of the cameras, and their path.
  function frusta(cloud) {
    const { count, aspect } = cloud.cameras;
    const centres = floats(cloud.cameras.centres), axes = floats(cloud.cameras.axes);
    const size = 0.035, every = Math.max(1, Math.round(count / 10)), lines = [];
    const corner = (k, sx, sy) => [0, 1, 2].map((j) =>
      centres[3 * k + j] + size * (axes[9 * k + 6 + j] + sx * aspect[0] * axes[9 * k + j] + sy * aspect[1] * axes[9 * k + 3 + j]));
    for (let k = 0; k < count; k += every) {
      const apex = [0, 1, 2].map((j) => centres[3 * k + j]);
      const frame = [corner(k, -1, -1), corner(k, 1, -1), corner(k, 1, 1), corner(k, -1, 1)];
      frame.forEach((c, n) => lines.push(...apex, ...c, ...c, ...frame[(n + 1) % 4]));
    }
    const group = new THREE.Group(), material = new THREE.LineBasicMaterial({ color: new THREE.Color(cloud.colour) });
    const add = (positions, Kind) => {
      const geometry = new THREE.BufferGeometry();
      geometry.setAttribute("position", new THREE.BufferAttribute(positions, 3));
      const drawn = new Kind(geometry, material);
      drawn.frustumCulled = false;
      group.add(drawn);
    };
    add(new Float32Array(lines), THREE.LineSegments);
    add(centres, THREE.Line);
    return group;
  }

  const scene = new THREE.Scene();
  entries.forEach((e) => scene.add(e.group));
  const camera = new THREE.PerspectiveCamera(40, 1, 0.01, 100);
  const controls = new THREE.OrbitControls(camera, renderer.domElement);
  controls.enableDamping = true;
  controls.autoRotateSpeed = 1.2;
  // The wheel scrolls the page until the view is in use.
  controls.enableZoom = false;
  renderer.domElement.addEventListener("pointerdown", () => { controls.enableZoom = true; turn(false); draw(); });
  host.addEventListener("pointerleave", () => { controls.enableZoom = false; });

  function reset() {
    // Obliquely from behind the cameras, far enough for the narrower side of a tile.
    const tiles = state.split ? entries.length : 1;
    const away = scene3d.away / Math.min(1, host.clientWidth / tiles / host.clientHeight || 1);
    // Without damping an update spends what is left of a drag, which would turn the view on after this.
    controls.enableDamping = false;
    controls.update();
    camera.position.set(0.42, 0.46, 0.78).setLength(away);
    controls.target.set(0, 0, 0);
    controls.update();
    controls.enableDamping = true;
    draw();
  }

  function paint() {
    for (const e of entries) {
      e.geometry.setAttribute("tint", new THREE.BufferAttribute(e.tints[state.colour], 3, true));
      e.material.uniforms.size.value = state.size * renderer.getPixelRatio();
      e.cameras.visible = state.cameras;
    }
    const legend = document.getElementById("view-legend");
    legend.hidden = state.colour === "photo";
    if (!legend.hidden) {
      const [low, top] = scene3d.ranges[state.colour], [unit, digits, factor] =
        { error: [" px", 2, 1], length: [" views", 0, 1], uncertainty: [" % of distance", 2, 100] }[state.colour];
      legend.style.setProperty("--ramp", table.filter((_, k) => k % 15 === 0).map((c) => `rgb(${c.map(Math.round).join(" ")})`).join(","));
      legend.querySelector(".low").textContent = (factor * low).toFixed(digits) + unit;
      legend.querySelector(".top").textContent = (factor * top).toFixed(digits) + unit;
    }
    draw();
  }

  function draw() {
    const width = host.clientWidth, height = host.clientHeight;
    if (!width || !height) return;
    renderer.setScissorTest(false);
    renderer.clear();
    const shown = entries.filter((e) => state.shown[e.cloud.name]);
    const tiles = state.split && shown.length > 1 ? shown.map((e) => [e]) : [shown];
    document.querySelectorAll("#view-names span").forEach((name) => { name.hidden = !state.shown[name.dataset.cloud]; });
    document.getElementById("view-names").classList.toggle("split", tiles.length > 1);
    tiles.forEach((tile, k) => {
      const x = Math.round((k * width) / tiles.length), w = Math.round(((k + 1) * width) / tiles.length) - x;
      entries.forEach((e) => { e.group.visible = tile.includes(e); });
      renderer.setViewport(x, 0, w, height);
      renderer.setScissor(x, 0, w, height);
      renderer.setScissorTest(true);
      camera.aspect = w / height;
      camera.updateProjectionMatrix();
      renderer.render(scene, camera);
    });
  }

  function turn(on) {
    state.turning = controls.autoRotate = on;
    document.getElementById("turn").setAttribute("aria-pressed", String(on));
    if (on) requestAnimationFrame(step);
  }
  // Only drawn while something moves, and only while it is on the screen.
  let visible = true, running = false;
  function step() {
    if (running) return;
    running = true;
    const next = () => {
      if (!visible || document.hidden || !state.turning) { running = false; return; }
      controls.update();
      draw();
      requestAnimationFrame(next);
    };
    next();
  }
  controls.addEventListener("change", () => { if (!state.turning) draw(); });
  controls.addEventListener("start", settle);
  controls.addEventListener("end", settle);
  let settling = 0;
  function settle() {
    const first = settling === 0;
    settling = 60;
    if (first) requestAnimationFrame(function ease() { controls.update(); if (--settling > 0) requestAnimationFrame(ease); });
  }
  new IntersectionObserver((seen) => { visible = seen[0].isIntersecting; if (visible && state.turning) step(); }).observe(host);
  document.addEventListener("visibilitychange", () => { if (state.turning) step(); });

  const toggle = (id, get, set) => {
    const button = document.getElementById(id);
    if (!button) return;
    button.setAttribute("aria-pressed", String(get()));
    button.addEventListener("click", () => { set(!get()); button.setAttribute("aria-pressed", String(get())); paint(); });
  };
  for (const e of entries) {
    toggle("show-" + e.cloud.name, () => state.shown[e.cloud.name], (on) => { state.shown[e.cloud.name] = on; });
  }
  toggle("show-cameras", () => state.cameras, (on) => { state.cameras = on; });
  toggle("split", () => state.split, (on) => { state.split = on; });
  document.getElementById("turn").addEventListener("click", () => turn(!state.turning));
  document.getElementById("reset").addEventListener("click", reset);
  document.querySelectorAll("input[name=colour]").forEach((input) =>
    input.addEventListener("change", () => { state.colour = input.value; paint(); }));
  document.getElementById("size").addEventListener("input", (event) => { state.size = Number(event.target.value); paint(); });

  new ResizeObserver(() => { renderer.setSize(host.clientWidth, host.clientHeight); draw(); }).observe(host);
  renderer.setSize(host.clientWidth, host.clientHeight);
  reset();
  paint();
  turn(state.turning);
  host.dataset.ready = "true";
})();
