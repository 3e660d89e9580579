// The stream of pictures, and how old what is shown is. A stream that ends, refuses or falls silent is opened again.

const OLD_S = 3;
const SILENT_S = 12;
const LOOK_MS = 500;
const AGAIN_MS = [500, 1000, 2000, 4000];

/** Listens to `/api/feed`. `picture(p)` for each picture, `move()` when one begins or ends, `opened()` after each
 * connection, `age({old, lost, at_us})` twice a second. */
export class Feed {
  constructor({ picture, move, opened, age }) {
    this.handlers = { picture, move, opened, age };
    this.tries = 0;
    this.atUs = 0;
    this.advanced = this.heard = performance.now();
    this.connected = false;
    this.open();
    setInterval(() => this.look(), LOOK_MS);
    addEventListener("online", () => this.again(0));
    document.addEventListener("visibilitychange", () => document.hidden || this.look());
  }

  open() {
    clearTimeout(this.timer);
    this.source?.close();
    this.heard = performance.now();
    const source = (this.source = new EventSource("/api/feed"));
    source.addEventListener("open", () => this.opened());
    source.addEventListener("picture", (event) => this.pictured(event));
    source.addEventListener("move", () => this.handlers.move());
    source.addEventListener("error", () => source === this.source && this.failed());
  }

  opened() {
    this.connected = true;
    this.heard = performance.now();
    this.tries = 0;
    this.handlers.opened();
  }

  pictured(event) {
    this.heard = performance.now();
    this.connected = true;
    const picture = JSON.parse(event.data);
    if (picture.at_us !== this.atUs) this.advanced = this.heard;
    this.atUs = picture.at_us;
    this.handlers.picture(picture);
    this.look();
  }

  failed() {
    this.connected = false;
    this.source.close();
    this.again(AGAIN_MS[Math.min(this.tries, AGAIN_MS.length - 1)]);
    this.tries += 1;
    this.look();
  }

  again(afterMs) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), afterMs);
  }

  look() {
    const now = performance.now();
    if (this.connected && now - this.heard > SILENT_S * 1000) this.failed();
    const old = this.atUs > 0 && now - this.advanced > OLD_S * 1000;
    this.handlers.age({ old: old || (!this.connected && this.atUs > 0), lost: !this.connected, at_us: this.atUs });
  }
}
