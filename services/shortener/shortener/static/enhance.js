// What the pages gain with JavaScript; without it everything works the same, by hand. All texts come from the page.
"use strict";

const status = document.getElementById("copy-status");

for (const button of document.querySelectorAll("button[data-copy]")) {
  const texts = button.dataset;
  const before = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const copied = await copy(texts.copy, texts.source);
    button.textContent = copied ? texts.done : texts.failed;
    status.textContent = copied ? texts.said : texts.selected;
    button.classList.toggle("done", copied);
    for (const other of document.querySelectorAll("button[data-copy].done")) {
      if (other === button) continue;
      other.classList.remove("done");
      other.textContent = before;
    }
  });
}

// The clipboard interface exists on https and localhost only; elsewhere the text is selected for the visitor.
async function copy(text, source) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(document.getElementById(source));
    return false;
  }
}

for (const button of document.querySelectorAll("button[data-reveal]")) {
  const input = document.getElementById(button.dataset.reveal);
  const show = button.textContent;
  button.hidden = false;
  button.addEventListener("click", () => {
    const hidden = input.type === "password";
    input.type = hidden ? "text" : "password";
    button.textContent = hidden ? button.dataset.hide : show;
    button.setAttribute("aria-pressed", String(hidden));
  });
}

// A second click must not send a form twice.
for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
}
addEventListener("pageshow", () => document.querySelectorAll("form").forEach((form) => delete form.dataset.sent));
