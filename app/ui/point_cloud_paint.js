// Paints the points of the point cloud (app/ui/point_cloud.py): with WebGL, which moves them on the graphics
// card, or where the browser has none on a plain canvas. Knows nothing of tokens; `point_cloud.js` is the rest.

// Signed distance-like tests of a point's own square, −1 to 1: what lies outside of the shape is not drawn.
const SHAPES = ["circle", "diamond", "square", "cross", "triangle", "plus"];

const VERTEX = `
attribute vec3 value; attribute vec4 ink; attribute float shape;
uniform vec3 middle, half_width, left_over; uniform mat3 view; uniform vec2 scale, shift; uniform float size;
varying vec4 colour; varying float form;
void main() {
  vec3 seen = view * ((value * left_over - middle) / half_width);
  gl_Position = vec4(seen.xy * scale + shift, seen.z * 0.2, 1.0);
  gl_PointSize = size; colour = ink; form = shape;
}`;
const FRAGMENT = `
precision mediump float;
varying vec4 colour; varying float form;
void main() {
  vec2 at = gl_PointCoord * 2.0 - 1.0; vec2 far = abs(at);
  float reach = form < 0.5 ? length(at) : form < 1.5 ? far.x + far.y : form < 2.5 ? max(far.x, far.y) * 1.2
    : form < 3.5 ? max(abs(far.x - far.y) * 2.6, max(far.x, far.y)) : form < 4.5 ? max(far.x * 2.0 - at.y, at.y + 0.1)
    : max(min(far.x, far.y) * 3.0, max(far.x, far.y));
  if (colour.a == 0.0 || reach > 1.0) discard;
  gl_FragColor = vec4(colour.rgb * colour.a, colour.a);
}`;

/** What paints on a canvas: `load(points)` once, `paint(camera)` for each picture; `webgl` says which of the two it is.
 *
 * WebGL paints on a surface that is not in the page, and the picture is copied: browsers without a graphics card draw of
 * a WebGL canvas in a page that scrolls only what they saw of it before, so that points end at a straight line. */
function painter(canvas) {
  const surface = document.createElement("canvas"), pen = canvas.getContext("2d");
  const gl = surface.getContext("webgl", { antialias: false, premultipliedAlpha: true });
  return gl ? webglPainter(gl, surface, canvas, pen) : plainPainter(pen, canvas);
}

function webglPainter(gl, surface, canvas, pen) {
  const compiled = (kind, source) => {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    return shader;
  };
  const program = gl.createProgram();
  gl.attachShader(program, compiled(gl.VERTEX_SHADER, VERTEX));
  gl.attachShader(program, compiled(gl.FRAGMENT_SHADER, FRAGMENT));
  gl.linkProgram(program);
  const place = (name) => gl.getUniformLocation(program, name);
  const buffers = {};
  let count = 0;

  const attribute = (name, array, width, kind, whole) => {
    buffers[name] ??= gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, array, gl.STATIC_DRAW);
    const at = gl.getAttribLocation(program, name);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, width, kind, whole, 0, 0);
  };

  return {
    webgl: true,
    surface,
    load({ values, inks, shapes }) {
      count = shapes.length;
      gl.useProgram(program);
      attribute("value", values, 3, gl.FLOAT, false);
      attribute("ink", inks, 4, gl.UNSIGNED_BYTE, true);
      attribute("shape", Float32Array.from(shapes), 1, gl.FLOAT, false);
    },
    paint({ middle, half, left, view, scale, shift, size, deep }) {
      if (surface.width !== canvas.width || surface.height !== canvas.height) {
        [surface.width, surface.height] = [canvas.width, canvas.height];
      }
      gl.viewport(0, 0, surface.width, surface.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      gl[deep ? "enable" : "disable"](gl.DEPTH_TEST);
      gl.enable(gl.BLEND);
      gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
      gl.uniform3fv(place("middle"), middle);
      gl.uniform3fv(place("half_width"), half);
      gl.uniform3fv(place("left_over"), left);
      gl.uniformMatrix3fv(place("view"), false, columnsOf(view));
      gl.uniform2f(place("scale"), (2 * scale[0]) / canvas.clientWidth, (2 * scale[1]) / canvas.clientHeight);
      gl.uniform2f(place("shift"), (2 * shift[0]) / canvas.clientWidth, (2 * shift[1]) / canvas.clientHeight);
      gl.uniform1f(place("size"), (size * canvas.width) / canvas.clientWidth);
      gl.drawArrays(gl.POINTS, 0, count);
      pen.setTransform(1, 0, 0, 1, 0, 0);
      pen.clearRect(0, 0, canvas.width, canvas.height);
      pen.drawImage(surface, 0, 0);
    },
  };
}

const columnsOf = (rows) => [0, 1, 2].flatMap((column) => rows.map((row) => row[column]));

function plainPainter(pen, canvas) {
  let points = null;
  return {
    webgl: false,
    load(given) { points = given; },
    paint(camera) {
      const ratio = canvas.width / canvas.clientWidth;
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
      for (let i = 0; i < points.shapes.length; i++) {
        if (!points.inks[4 * i + 3]) continue;
        const [x, y] = placed(points.values, i, camera, canvas.clientWidth, canvas.clientHeight);
        pen.fillStyle = `rgb(${points.inks[4 * i]} ${points.inks[4 * i + 1]} ${points.inks[4 * i + 2]} / 0.8)`;
        const r = camera.size / 2;
        pen.beginPath();
        if (SHAPES[points.shapes[i]] === "circle") pen.arc(x, y, r, 0, 7);
        else if (SHAPES[points.shapes[i]] === "square") pen.rect(x - r, y - r, 2 * r, 2 * r);
        else if (SHAPES[points.shapes[i]] === "triangle") pen.moveTo(x, y - r), pen.lineTo(x + r, y + r), pen.lineTo(x - r, y + r);
        else if (SHAPES[points.shapes[i]] === "diamond") {
          pen.moveTo(x, y - r), pen.lineTo(x + r, y), pen.lineTo(x, y + r), pen.lineTo(x - r, y);
        } else pen.rect(x - r, y - 1, 2 * r, 2), pen.rect(x - 1, y - r, 2, 2 * r);
        pen.fill();
      }
    },
  };
}

/** Where point `i` is drawn, in pixels from the upper left corner, and how far away it is. */
function placed(values, i, { middle, half, left, view, scale, shift }, width, height) {
  const a = (values[3 * i] * left[0] - middle[0]) / half[0];
  const b = (values[3 * i + 1] * left[1] - middle[1]) / half[1];
  const c = (values[3 * i + 2] * left[2] - middle[2]) / half[2];
  const [p, q, r] = view;
  const x = p[0] * a + p[1] * b + p[2] * c, y = q[0] * a + q[1] * b + q[2] * c;
  return [width / 2 + x * scale[0] + shift[0], height / 2 - y * scale[1] - shift[1], r[0] * a + r[1] * b + r[2] * c];
}
