// Counts presses of J and K, before Streamlit sees them (app/ui/stepping.py): it would take fast ones for one.
export default function ({ parentElement, setStateValue }) {
  parentElement.stopListening?.();
  parentElement.since ??= `${Date.now()}`;
  parentElement.steps ??= 0;
  const press = (event) => {
    const step = { j: 1, k: -1 }[event.key.toLowerCase()];
    const field = event.composedPath()[0];
    const typing = field.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(field.tagName);
    if (!step || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.stopImmediatePropagation();
    parentElement.steps += step;
    setStateValue("pressed", [parentElement.since, parentElement.steps]);
  };
  window.addEventListener("keydown", press, { capture: true });
  const stop = () => window.removeEventListener("keydown", press, { capture: true });
  parentElement.stopListening = stop;
  parentElement.querySelector("span").dataset.listening = "";
  // Streamlit clears up before every new run as well, and calls this function again a little later: no press in between
  // may be lost to it.
  return () => setTimeout(() => parentElement.isConnected || stop());
}
