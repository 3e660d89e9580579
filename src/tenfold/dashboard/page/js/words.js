// All words of the page, by key, in the language that is chosen. `{name}` is replaced; "one|many" is chosen by `n`.

let words = {};
let language = "en";
let plural = new Intl.PluralRules("en");
const listeners = new Set();

/** The languages that there are, each by its own name. */
export const LANGUAGES = { en: "English", ko: "한국어" };

/** The language that is shown. */
export const lang = () => language;

/** Calls `listener` whenever the language has changed. */
export const onWords = (listener) => listeners.add(listener);

/** Whether there is a word for a key. */
export const knows = (key) => key in words;

/** The words of a key; the key itself where there are none, so that nothing is ever empty. */
export function t(key, values = {}) {
  const found = words[key];
  if (found === undefined) return key;
  const forms = found.split("|");
  const form = forms.length > 1 ? forms[plural.select(Number(values.n)) === "one" ? 0 : 1] : found;
  return form.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? shown(values[name]) : whole));
}

const shown = (value) => (typeof value === "number" ? number(value) : String(value));

/** Loads a language and says all of the page in it. Keeps the old one when it cannot be had. */
export async function speak(wanted) {
  const next = wanted in LANGUAGES ? wanted : "en";
  const answer = await fetch(`/words/${next}.json`);
  if (!answer.ok) throw new Error(`words: ${answer.status}`);
  words = await answer.json();
  language = next;
  plural = new Intl.PluralRules(next);
  document.documentElement.lang = next;
  translate(document);
  for (const listener of listeners) listener();
}

/** Says everything below `root` that has its words in `data-t` (text), `data-t-label` or `data-t-title`. */
export function translate(root) {
  for (const element of root.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of root.querySelectorAll("[data-t-label]")) element.setAttribute("aria-label", t(element.dataset.tLabel));
  for (const element of root.querySelectorAll("[data-t-title]")) element.title = t(element.dataset.tTitle);
}

/** A number for a person: 1,234 · 12.3 · 0.45. */
export function number(value) {
  const size = Math.abs(value);
  const digits = Number.isInteger(value) || size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return formats(digits).format(value);
}

const made = new Map();

/** Formatters are dear to make, and few: one per language and number of digits. */
function formats(digits) {
  const key = `${language}${digits}`;
  if (!made.has(key)) made.set(key, new Intl.NumberFormat(language, { maximumFractionDigits: digits }));
  return made.get(key);
}

/** So many a second: "120/s", "0.4/s". */
export function rate(value) {
  const rounded = value >= 10 ? Math.round(value) : Math.round(value * 10) / 10;
  return t("per_second", { value: number(rounded) });
}

/** Milliseconds: "8 ms", "0.4 ms", "1.2 s"; a dash for what nobody measured. */
export function ms(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 1000) return t("seconds", { value: number(Math.round(value / 100) / 10) });
  return t("ms", { value: number(value >= 10 ? Math.round(value) : Math.round(value * 10) / 10) });
}

/** Seconds as a duration: "35 ms", "2.5 s", "3 min 20 s", "1 h 2 min". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 100) return ms(seconds * 1000);
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return t("minutes", { minutes, seconds: Math.round(seconds % 60) });
  return t("hours", { hours: Math.floor(minutes / 60), minutes: minutes % 60 });
}

/** Bytes: "12 MB", "1.4 GB" (powers of 1000). */
export function size(bytes) {
  for (const [unit, weight] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (bytes >= weight) return `${number(Math.round((bytes / weight) * 10) / 10)}\u00a0${unit}`;
  }
  return `${number(Math.round(bytes))} B`;
}

/** A share from 0 to 1: "42 %". */
export const share = (value) => `${number(Math.round(value * 100))}\u00a0%`;

/** A time of day, of microseconds since 1970; with the date when that is another day. */
export function time(us) {
  const at = new Date(us / 1000);
  const today = at.toDateString() === new Date().toDateString();
  const options = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
  if (!today) Object.assign(options, { month: "short", day: "numeric" });
  return new Intl.DateTimeFormat(language, options).format(at);
}

/** The words of a role ("Web servers"; "Web server" for one); a role that nobody knows yet is called by its name. */
export const role = (name, n = 2) => (knows(`role.${name}`) ? t(`role.${name}`, { n }) : name);
