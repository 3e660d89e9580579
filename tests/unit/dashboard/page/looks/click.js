((selector) => {
  const element = document.querySelector(selector);
  element?.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
  return Boolean(element);
})(arguments[0])
