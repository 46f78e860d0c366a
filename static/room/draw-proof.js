// Checks a draw as live/promotions/draw/rules.py describes it: SHA-256 in hex, parts joined by "|". No DOM here.

const digest = async (...parts) => {
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(parts.join("|")));
  return [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
};

/** A page that was not loaded over https (or from this machine) has no SHA-256. */
export const canCheck = () => Boolean(globalThis.crypto?.subtle);

export async function winners(seed, tickets, count) {
  const entered = [...new Set(tickets)].sort();
  const key = await digest(seed, ...entered);
  const numbered = await Promise.all(entered.map(async (one) => [await digest(key, one), one]));
  return numbered.sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, count).map(([, one]) => one);
}

/** "" when the proof is what its seed and tickets say, else what is wrong: open, commitment, seed, tickets, winners. */
export async function proofFault(proof, published) {
  if (!proof.seed || !proof.tickets || !proof.winners) return "open";
  if (published && published !== proof.commitment) return "commitment";
  if ((await digest(proof.seed)) !== proof.commitment) return "seed";
  const entered = [...new Set(proof.tickets)].sort();
  if (entered.join() !== proof.tickets.join()) return "tickets";
  return (await winners(proof.seed, entered, proof.count)).join() === proof.winners.join() ? "" : "winners";
}
