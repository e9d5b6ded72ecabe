/* Keys in a widget. To JupyterLab an arrow moves to another cell, and a letter cuts or adds one, also where a control
   has the focus. What a control needs itself is kept from these commands; Ctrl+S, Esc and Tab are not. Notebook 7 looks
   at keys before any element of the page does, so this looks earlier still: at the window, on the way down. */
(mark) => {
  const own = "select, button, input[type=checkbox]";
  const keep = (at) => {
    at.setAttribute("data-lm-suppress-shortcuts", "true"); /* the attribute that both front ends look for */
    setTimeout(() => at.removeAttribute("data-lm-suppress-shortcuts"));
  };
  const listen = (root) => {
    const pressed = (event) => {
      if (!root.isConnected) window.removeEventListener("keydown", pressed, true);
      const at = event.target;
      if (!root.contains(at)) return;
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        const ask = root.querySelector("button.victor-ask:not(:disabled)");
        if (!ask) return;
        keep(at);
        event.preventDefault();
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
    window.addEventListener("keydown", pressed, true);
  };
  let looks = 0;
  const find = () => {
    const root = mark.closest(".victor");
    if (root?.isConnected) listen(root);
    else if (looks++ < 200) setTimeout(find, 50); /* the mark exists before it is put into the page */
  };
  find();
}
