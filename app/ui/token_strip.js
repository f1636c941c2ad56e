// Draws the token strip (app/ui/tokens.py). Text is set through textContent only.
export default function ({ data, parentElement, setTriggerValue }) {
  const strip = parentElement.querySelector(".strip");
  const tip = parentElement.querySelector(".tip");
  const root = strip.getRootNode();
  const focused = [...strip.children].indexOf(root.activeElement); // survives a redraw
  const current = focused >= 0 ? focused : data.selected ?? 0;

  const show = (token) => {
    tip.textContent = data.tokens[token.dataset.index].tip;
    tip.hidden = false;
    const box = token.getBoundingClientRect();
    const frame = strip.getBoundingClientRect();
    const left = Math.min(box.left - frame.left, Math.max(0, frame.width - tip.offsetWidth));
    tip.style.left = `${left}px`;
    const below = box.bottom + 6, fits = below + tip.offsetHeight < window.innerHeight;
    tip.style.top = `${(fits ? below : box.top - tip.offsetHeight - 6) - frame.top}px`;
  };
  const hide = () => { tip.hidden = true; };
  const move = (to) => {
    const next = strip.children[Math.min(Math.max(to, 0), data.tokens.length - 1)];
    for (const token of strip.children) token.tabIndex = token === next ? 0 : -1;
    next?.focus();
  };

  strip.setAttribute("role", "listbox"); // with its name, not before: a list without one cannot be told from others
  strip.setAttribute("aria-label", data.label);
  strip.setAttribute("aria-orientation", "horizontal");
  strip.className = `strip ${data.diverging ? "diverging" : "sequential"}`;
  strip.replaceChildren(...data.tokens.flatMap((token, index) => {
    const span = document.createElement("span");
    const inked = token.text.replace(/\n+$/, ""); // a break inside the span would draw its colour on the next line
    span.textContent = inked;
    span.dataset.index = index;
    span.className = "tk shaded" + (token.shade < 0 ? " minus" : " plus") + (token.largest ? " largest" : "") +
      (token.loss ? " loss" : "") + (token.aside ? " aside" : "") + (token.chunk ? ` framed ${token.edge}` : "") +
      (token.chosen ? " mine" : "");
    if (token.chunk) span.dataset.chunk = token.chunk;
    span.style.setProperty("--shade", Math.abs(token.shade));
    span.setAttribute("role", "option");
    span.setAttribute("aria-label", token.tip);
    span.setAttribute("aria-selected", index === data.selected);
    span.tabIndex = index === current ? 0 : -1;
    span.onfocus = () => show(span); // focus does not bubble
    span.onblur = hide;
    return [span, token.text.slice(inked.length) + "\u200b"]; // a line may end after it, not within
  }));
  if (focused >= 0) move(focused);

  const tokenOf = (event) => event.target.closest?.(".tk");
  strip.onmouseover = (event) => { const token = tokenOf(event); if (token) show(token); };
  strip.onmouseleave = hide;
  strip.onclick = (event) => {
    const token = tokenOf(event);
    if (!token) return;
    move(Number(token.dataset.index));
    setTriggerValue("picked", Number(token.dataset.index));
  };
  strip.onkeydown = (event) => {
    const token = tokenOf(event);
    if (!token) return;
    const at = Number(token.dataset.index);
    const steps = { ArrowLeft: at - 1, ArrowUp: at - 1, ArrowRight: at + 1, ArrowDown: at + 1,
                    Home: 0, End: data.tokens.length - 1 };
    if (event.key in steps) move(steps[event.key]);
    else if (event.key === "Enter" || event.key === " ") setTriggerValue("picked", at);
    else if (event.key === "Escape") hide();
    else return;
    event.preventDefault();
  };

  const { ticks, unit, loss, aside, chunks } = data.legend;
  const piece = (kind, text) => {
    const part = document.createElement("span");
    part.className = kind;
    part.textContent = text;
    return part;
  };
  const legend = parentElement.querySelector(".legend");
  legend.className = `legend ${data.diverging ? "diverging" : "sequential"}`;
  const bar = piece("bar", "");
  const steps = data.diverging ? [...Array(23).keys()].map((i) => (i - 11) / 11) : [...Array(22).keys()].map((i) => i / 21);
  bar.append(...steps.map((shade) => {
    const cell = piece(`shaded ${shade < 0 ? "minus" : "plus"}`, "");
    cell.style.setProperty("--shade", Math.abs(shade));
    return cell;
  }));
  const numbers = document.createElement("span");
  numbers.className = "scale";
  numbers.append(piece("tick", ticks[0]), bar, piece("tick", ticks[1]), piece("tick unit", unit));
  const notes = [piece("key", "largest")];
  notes[0].classList.add("largest");
  if (loss) notes.push(Object.assign(piece("key", "loss token"), { className: "key loss" }));
  if (chunks) notes.push(Object.assign(piece("key", "chunk: click to read it"), { className: "key framed first last" }));
  if (aside) notes.push(Object.assign(piece("key", "hidden"), { className: "key aside" }));
  if (data.selected !== null) notes.push(Object.assign(piece("key", "selected"), { className: "key chosen" }));
  legend.replaceChildren(numbers, ...notes);
}
