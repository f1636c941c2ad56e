// Counts presses of J and K, before Streamlit sees them (app/ui/stepping.py): it would take fast ones for one.
// Streamlit calls this again for every run, and may put a new element in the place of the old one in between: the count
// belongs to the window, and a press that nobody could be told of is told by the next call.
export default function ({ parentElement, setStateValue }) {
  const keys = (window.spdStepKeys ??= listen());
  const send = () => {
    keys.told = keys.steps;
    setStateValue("pressed", [keys.since, keys.steps]);
  };
  keys.send = send;
  keys.page = location.pathname;
  if (keys.told !== keys.steps) send();
  parentElement.querySelector("span").dataset.listening = "";
  return () => {
    if (keys.send === send) keys.send = null;
  };
}

function listen() {
  const keys = { since: `${Date.now()}`, steps: 0, told: 0, send: null, page: "" };
  const press = (event) => {
    const step = { j: 1, k: -1 }[event.key?.toLowerCase()];
    const field = event.composedPath()[0];
    const typing = field.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(field.tagName);
    if (location.pathname !== keys.page) return;
    if (!step || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.stopImmediatePropagation();
    keys.steps += step;
    keys.send?.();
  };
  window.addEventListener("keydown", press, { capture: true });
  return keys;
}
