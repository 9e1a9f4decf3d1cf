// What this page may do: the token of its address (taken out of it, so that a shared link does not carry it), and view-only.

const query = new URLSearchParams(location.search);
if (query.has("token")) {
  sessionStorage.setItem("token", query.get("token"));
  const url = new URL(location.href);
  url.searchParams.delete("token");
  history.replaceState(null, "", url);
}
const token = sessionStorage.getItem("token");
const viewOnly = !["", "0", null].includes(query.get("view"));

// A path of this server with what the page may show for itself.
export function path(name) {
  const url = new URL(name, location.origin);
  if (token) url.searchParams.set("token", token);
  if (viewOnly) url.searchParams.set("view", "1");
  return url;
}

// "control" or "view"; "refused": a token is missing or wrong; "full": later; "gone": no server.
export async function role() {
  try {
    const answer = await fetch(path("/access"), { cache: "no-store" });
    if (answer.ok) return (await answer.json()).role;
    return answer.status === 401 ? "refused" : "full";
  } catch {
    return "gone";
  }
}
