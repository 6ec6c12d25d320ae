// Whether a key can be used, and for how long still.

const SOON = 14 * 86_400_000; // milliseconds

export function stateOf(key, now = Date.now()) {
  const expiry = key.expires_at ? Date.parse(key.expires_at) : Infinity;
  if (key.revoked_at) return { name: "revoked", text: "revoked", tone: "off" };
  if (expiry <= now) return { name: "expired", text: "expired", tone: "bad" };
  if (!key.enabled) return { name: "disabled", text: "switched off", tone: "off" };
  if (expiry - now < SOON) return { name: "expiring", text: "expiring", tone: "warn" };
  return { name: "active", text: "active", tone: "good" };
}
