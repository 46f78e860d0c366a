// Who of the staff is at this page. A page without a session goes to the login and comes back to where it was.
import { staff, ApiRefusal } from "/static/shared/api.js";
import { keep } from "/static/shared/dom.js";
import { refused } from "/static/shared/toast.js";

const SLOT = "live.staff"; // "1" while this browser probably has a session: the cookie itself is hidden from pages

const HOME = { owner: "/hq", host: "/console", moderator: "/console", clerk: "/store", leader: "/store" };
const LOST = ["unauthorised", "expired", "password_change"];

/** The page a role works at. */
export const home = (role) => HOME[role] || "/login";

/** `next` when it is a path of this very site, else null. Guards against `//host`, `/\host` and `javascript:`. */
export function ownPath(next) {
  if (!next || !next.startsWith("/") || /^\/[/\\]/.test(next)) return null;
  try {
    const address = new URL(next, location.origin);
    return address.origin === location.origin ? address.pathname + address.search + address.hash : null;
  } catch {
    return null;
  }
}

/** Whether it is worth asking who is signed in. */
export const perhaps = () => keep.get(SLOT) === "1";
export const remember = (signedIn) => keep.set(SLOT, signedIn ? "1" : null);

/** To the login, and back here afterwards. */
export function toLogin() {
  const here = location.pathname + location.search + location.hash;
  location.replace(`/login?next=${encodeURIComponent(here)}`);
}

async function guarded(asked) {
  try {
    return await asked;
  } catch (refusal) {
    if (refusal instanceof ApiRefusal && LOST.includes(refusal.code)) {
      if (refusal.code !== "password_change") remember(false);
      toLogin();
    }
    throw refusal;
  }
}

/** The staff doors for pages behind the login: a session that ended leads to the login. Throws ApiRefusal like `staff`. */
export const doors = {
  get: (path) => guarded(staff.get(path)),
  post: (path, body = {}, key) => guarded(staff.post(path, body, key)),
};

/** {you, rooms, stores} of the session. */
export const whoAmI = () => doors.get("/v1/staff/me");

/** Ends every session of this account. Where nobody answered, the cookie still holds, and this page does not look as if it did not. */
export async function signOut() {
  try {
    await staff.post("/v1/staff/logout");
  } catch (refusal) {
    if (!LOST.includes(refusal.code)) {
      refused(refusal);
      return;
    }
  }
  remember(false);
  location.assign("/login");
}

/** The array in an answer, be it the answer itself or its member `name`. */
export const list = (answer, name) => (Array.isArray(answer) ? answer : answer?.[name] || []);
