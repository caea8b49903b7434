// When something was done: conditions on the entries of the address.

const CONDITION = /^([a-z_]+)(?:(!?=)(.*)| changed)$/;

// Whether a condition holds: "head=4", "from!=cls", or "head changed" since `before`. An entry that
// the address lacks counts as empty.
export function isMet(condition, now, before) {
  const [, name, sign, value] = CONDITION.exec(condition) ?? [];
  if (name === undefined) return false;
  const is = now.get(name) ?? "";
  if (sign === undefined) return is !== (before.get(name) ?? "");
  return (is === value) === (sign === "=");
}
