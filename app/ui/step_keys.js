// Counts presses of J and K, before Streamlit sees them (app/ui/stepping.py): it would take fast ones for one.
// Streamlit calls this again for every run, and may put a new element in the place of the old one in between: the count
// belongs to the window, and a press that nobody could be told of is told by the next call.
export default function ({ data, parentElement, setStateValue }) {
  const keys = (window.spdStepKeys ??= listen());
  const send = () => {
    keys.told = keys.steps;
    setStateValue("pressed", [keys.since, keys.steps]);
  };
  keys.send = send;
  keys.page = location.pathname;
  keys.more = data?.keys ?? {};
  if (keys.told !== keys.steps) send();
  parentElement.querySelector("span").dataset.listening = "";
  return () => {
    if (keys.send === send) keys.send = null;
  };
}

const USE_ARROWS = "input, canvas, [role=slider], [role=radio], [role=tab], [role=option], [role=listbox], [role=menuitem]";

function listen() {
  const keys = { since: `${Date.now()}`, steps: 0, told: 0, send: null, page: "", more: {} };
  const press = (event) => {
    const step = { j: 1, k: -1 }[event.key?.toLowerCase()] ?? keys.more[event.key];
    const field = event.composedPath()[0];
    const typing = field.isContentEditable || ["TEXTAREA", "SELECT"].includes(field.tagName)
      || (field.tagName === "INPUT" && !["range", "radio", "checkbox"].includes(field.type));
    if (location.pathname !== keys.page) return;
    if (!step || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.startsWith("Arrow") && field.matches?.(USE_ARROWS)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    keys.steps += step;
    keys.send?.();
  };
  window.addEventListener("keydown", press, { capture: true });
  return keys;
}
