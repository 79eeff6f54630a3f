// The connection to the wall: comes back by itself, and notices when nothing comes any more.

const SILENCE_MS = 6000;
const TRY_LATER = 1013;
const PAUSES_MS = [500, 1000, 2000, 4000];

export class Link {
  /** `handlers`: hello(body), status(body), picture(head, bytes) -> promise, lost(why): `why` is the wall's own word, or "". */
  constructor(handlers) {
    this.handlers = handlers;
    this.failures = 0;
    this.drawing = [];
    this.watch = null;
    this.open();
    setInterval(() => this.look(), 1000);
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/live`);
    socket.binaryType = "arraybuffer";
    socket.onmessage = (message) => this.receive(socket, message.data);
    socket.onclose = (event) => this.closed(socket, event.code === TRY_LATER ? event.reason : "");
    this.socket = socket;
    this.heard = performance.now();
  }

  /** Say which tiles are seen; kept, and said again after a reconnection. */
  show(cameras, width) {
    this.watch = JSON.stringify({ type: "watch", cameras, width });
    this.send(this.watch);
  }

  send(text) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(text);
  }

  receive(socket, data) {
    if (socket !== this.socket) return;
    this.heard = performance.now();
    if (data instanceof ArrayBuffer) {
      const length = new DataView(data).getUint32(0);
      const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
      this.drawing.push(this.handlers.picture(head, new Uint8Array(data, 4 + length)));
      return;
    }
    const body = JSON.parse(data);
    if (body.type === "round") this.acknowledge(socket, body.round);
    else if (body.type === "status") this.handlers.status(body);
    else if (body.type === "hello") {
      this.failures = 0;
      this.handlers.hello(body);
      if (this.watch) this.send(this.watch);
    }
  }

  /** The next round comes when this one is drawn: a slow machine gets fewer pictures, not a queue. */
  async acknowledge(socket, round) {
    const drawing = this.drawing;
    this.drawing = [];
    await Promise.allSettled(drawing);
    if (socket === this.socket) this.send(JSON.stringify({ type: "drawn", round }));
  }

  closed(socket, why = "") {
    if (socket !== this.socket) return;
    this.handlers.lost(why);
    const pause = PAUSES_MS[Math.min(this.failures, PAUSES_MS.length - 1)];
    this.failures += 1;
    setTimeout(() => this.open(), pause);
  }

  look() {
    const silent = performance.now() - this.heard > SILENCE_MS;
    if (silent && this.socket.readyState <= WebSocket.OPEN) {
      const socket = this.socket;
      socket.close();
      // A dead line may take minutes to close.
      socket.onclose = null;
      this.closed(socket);
    }
  }
}
