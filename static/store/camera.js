// Scanning with the camera, where the browser can read codes by itself; elsewhere the field and a hand scanner do.
import { html, useEffect, useRef, useState } from "/static/shared/dom.js";
import { t } from "/static/shared/i18n.js";
import { Sheet } from "/static/shared/dialog.js";

const LOOK = 200; // ms between two looks at the picture: fast for a hand, gentle on the battery

/** Whether this browser reads QR codes and may use a camera (a secure page: https or this very machine). */
export async function canScan() {
  if (!("BarcodeDetector" in window) || !navigator.mediaDevices?.getUserMedia) return false;
  try {
    return (await window.BarcodeDetector.getSupportedFormats()).includes("qr_code");
  } catch {
    return false;
  }
}

/** `onCode(text)` once, with what the first readable code says. */
export function Camera({ onCode, onClose }) {
  const video = useRef(null);
  const [problem, set] = useState("");
  useEffect(() => {
    let over = false;
    let timer;
    let stream;
    const detector = new window.BarcodeDetector({ formats: ["qr_code"] });
    const look = async () => {
      if (over) return;
      try {
        const [code] = await detector.detect(video.current);
        if (code?.rawValue && !over) {
          over = true;
          onCode(code.rawValue);
          return;
        }
      } catch {
        /* no picture yet */
      }
      timer = setTimeout(look, LOOK);
    };
    navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false }).then(
      (given) => {
        stream = given;
        if (over) return stop(given);
        video.current.srcObject = given;
        video.current.play().catch(() => {});
        return look();
      },
      () => !over && set(t("store.camera_refused")),
    );
    return () => {
      over = true;
      clearTimeout(timer);
      if (stream) stop(stream);
    };
  }, []);
  return html`<${Sheet} title=${t("store.scan_title")} onClose=${onClose}>
    ${problem
      ? html`<p class="note note-warn" role="alert">${problem}</p>`
      : html`<div class="finder"><video ref=${video} muted playsinline></video><span class="finder-box" aria-hidden="true"></span></div>
          <p class="muted small finder-text">${t("store.scan_lead")}</p>`}
  <//>`;
}

function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}
