// Draws the figures of a report in the reader's theme, and in the light one on paper; steps through its token strips.
(() => {
  "use strict";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paper = matchMedia("print");
  const WIDE_ON_PAPER = 680; // pixels: an A4 or Letter page between its margins
  const HIGH_ON_PAPER = 900;
  const plots = [...document.querySelectorAll(".plot")].map((place) =>
    ({ place, ...JSON.parse(document.getElementById(`${place.id}-data`).textContent) }));

  const copied = (value) => JSON.parse(JSON.stringify(value));
  const themed = (plot, isDark) => {
    const figure = copied(plot.figure);
    for (const [path, value] of isDark ? plot.dark : []) {
      let inside = figure;
      for (const step of path.slice(0, -1)) inside = inside[step];
      inside[path.at(-1)] = copied(value);
    }
    return figure;
  };
  const save = (format) => (drawn) => Plotly.downloadImage(drawn, { format, filename: drawn.dataset.name });
  const buttons = [[
    { name: "png", title: "Save as PNG", icon: window.Plotly?.Icons.camera, click: save("png") },
    { name: "svg", title: "Save as SVG", icon: window.Plotly?.Icons.disk, click: save("svg") },
    "resetScale2d",
  ]];
  const draw = (plot, printed) => {
    const { data, layout } = themed(plot, dark.matches && !printed);
    if (printed) Object.assign(layout, { width: WIDE_ON_PAPER, height: Math.min(layout.height ?? 450, HIGH_ON_PAPER) });
    else layout.autosize = true;
    plot.place.style.height = `${layout.height ?? 450}px`; // a figure that is made wider keeps its height
    layout.dragmode = innerWidth > 640 ? "zoom" : false; // a finger scrolls the page
    return Plotly.react(plot.place, data, layout, { displaylogo: false, responsive: !printed, modeBarButtons: buttons });
  };
  let printing = false;
  const drawAll = (printed) => { printing = printed; for (const plot of plots) draw(plot, printed); };

  const toPaper = () => {
    if (printing) return;
    drawAll(true);
  };
  const toScreen = () => {
    if (!printing) return;
    drawAll(false);
  };
  drawAll(false);
  dark.addEventListener("change", () => drawAll(printing));
  addEventListener("beforeprint", toPaper);
  addEventListener("afterprint", toScreen);
  paper.addEventListener("change", () => (paper.matches ? toPaper() : toScreen()));

  for (const strip of document.querySelectorAll(".strip")) {
    const tokens = [...strip.querySelectorAll(".tk")];
    const tip = strip.parentElement.querySelector(".tip");
    let chosen = tokens.findIndex((token) => token.tabIndex === 0);
    const say = (token) => { tip.textContent = token.getAttribute("aria-label"); };
    const choose = (at) => {
      tokens[chosen].tabIndex = -1;
      tokens[chosen].setAttribute("aria-selected", "false");
      chosen = Math.min(Math.max(at, 0), tokens.length - 1);
      tokens[chosen].tabIndex = 0;
      tokens[chosen].setAttribute("aria-selected", "true");
      tokens[chosen].focus();
      say(tokens[chosen]);
    };
    strip.addEventListener("mouseover", (event) => { if (tokens.includes(event.target)) say(event.target); });
    strip.addEventListener("mouseleave", () => say(tokens[chosen]));
    strip.addEventListener("click", (event) => { const at = tokens.indexOf(event.target); if (at >= 0) choose(at); });
    strip.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: chosen - 1, ArrowUp: chosen - 1, ArrowRight: chosen + 1, ArrowDown: chosen + 1,
                   Home: 0, End: tokens.length - 1 }[event.key];
      if (to === undefined) return;
      choose(to);
      event.preventDefault();
    });
  }
  document.documentElement.dataset.drawn = "yes";
})();
