/* Keys in a widget. To JupyterLab an arrow moves to another cell, and a letter cuts or adds one, also where a control
   has the focus. What a control needs itself is kept from these commands; Ctrl+S, Esc and Tab are not. Notebook 7 looks
   at keys before any element of the page does, so this looks earlier still: at the window, on the way down.
   One listener serves all widgets of a page: the newest, whatever is shown, run again, moved or scrolled out of it. */
() => {
  const own = "select, button, input[type=checkbox]";
  const keep = (at) => {
    at.setAttribute("data-lm-suppress-shortcuts", "true"); /* the attribute that both front ends look for */
    setTimeout(() => at.removeAttribute("data-lm-suppress-shortcuts"));
  };
  const pressed = (event) => {
    const at = event.target;
    if (!at.closest?.(".victor.widget-box")) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const ask = at.closest(".victor:has(button.victor-ask)")?.querySelector("button.victor-ask");
      if (!ask) return;
      keep(at); /* also while it answers: to run its cell again would put an empty panel in its place */
      event.preventDefault();
      if (ask.disabled) return;
      at.dispatchEvent(new Event("change", { bubbles: true })); /* what was typed is sent before the click */
      setTimeout(() => ask.click(), 100);
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || ["Escape", "Tab"].includes(event.key)) return;
    if (!at.matches(own)) return;
    keep(at);
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const list = step && at.closest(".victor-choices");
    if (list) {
      const boxes = [...list.querySelectorAll("input[type=checkbox]")];
      event.preventDefault();
      boxes[boxes.indexOf(at) + step]?.focus();
    }
  };
  window.removeEventListener("keydown", window.victorKeys, true);
  window.victorKeys = pressed;
  window.addEventListener("keydown", pressed, true);
}
