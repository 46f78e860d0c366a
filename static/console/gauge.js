// How far the hub is, measured and not guessed: a socket that sends pings of its own beside those of the room.
const EVERY = 5_000; // ms; often enough to see a bad line within a sentence of the host
const FIRST = 2 ** 40; // ids of our pings: far above the room's own, so that it takes their answers for nobody's

/** Makes sockets for a LiveRoom. `tell(ms)` after each answer; `tell(null)` when the socket is gone. */
export function gauged(tell, { every = EVERY, now = () => performance.now(), make = (url) => new WebSocket(url) } = {}) {
  return (url) => {
    const socket = make(url);
    const sent = new Map(); // id -> when
    let id = FIRST;
    let timer;
    const ping = () => {
      if (socket.readyState !== WebSocket.OPEN) return;
      if (sent.size) {
        tell(Math.round(now() - sent.get(id))); // still no answer: it takes at least this long by now
        return;
      }
      id += 1;
      sent.set(id, now());
      socket.send(JSON.stringify({ id, t: "ping", d: {} }));
    };
    socket.addEventListener("message", (event) => {
      const greeted = timer !== undefined;
      if (!greeted) {
        timer = setInterval(ping, every); // the first frame is the answer to hello: from now on commands are taken
        setTimeout(ping, 200);
      } else if (sent.size && event.data.startsWith('{"id":') && event.data.includes(String(id))) {
        tell(Math.round(now() - sent.get(id)));
        sent.clear();
      }
    });
    socket.addEventListener("close", () => {
      clearInterval(timer);
      tell(null);
    });
    return socket;
  };
}
