// Paying: inside WeChat through its bridge, in the demo through the simulator's cashier page.
import { viewer } from "../shared/api.js";

export const inWechat = () => /MicroMessenger/i.test(navigator.userAgent);

/** After WeChat's own login page sent the visitor back with `?code=`: exchange it once and take it out of the address. */
export async function wechatReturn() {
  const address = new URL(location.href);
  const code = address.searchParams.get("code");
  if (!code || !inWechat()) return;
  address.searchParams.delete("code");
  address.searchParams.delete("state");
  history.replaceState(null, "", address);
  if (viewer.known) return;
  try {
    await viewer.wechat(code);
  } catch {
    /* the visitor stays a guest and may verify a phone instead */
  }
}

function bridge() {
  if (window.WeixinJSBridge) return Promise.resolve(window.WeixinJSBridge);
  return new Promise((ready) => document.addEventListener("WeixinJSBridgeReady", () => ready(window.WeixinJSBridge), { once: true }));
}

/** WeChat's payment sheet. Resolves "ok", "cancel" or "fail"; the truth comes from the server's notice, never from here. */
export async function wechatPay(params) {
  const { appId, timeStamp, nonceStr, package: prepay, signType, paySign } = params;
  const call = await bridge();
  return new Promise((answer) => {
    call.invoke("getBrandWCPayRequest", { appId, timeStamp, nonceStr, package: prepay, signType, paySign }, (result) => {
      answer(String(result?.err_msg || "").split(":")[1] || "fail");
    });
  });
}
