// Pages live behind the fragment: the controller serves one file, and no address it logs names a site.

import { useEffect, useState } from "preact/hooks";

export interface Route {
  page: string;
  id: string;
  query: URLSearchParams;
}

function read(): Route {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [page = "", ...rest] = path.split("/");
  return { page: page || "fleet", id: decodeURIComponent(rest.join("/")), query: new URLSearchParams(query) };
}

export function useRoute(): Route {
  const [route, set] = useState(read);
  useEffect(() => {
    const changed = () => set(read());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}

export function link(page: string, id: string | number = "", query: Record<string, string> = {}): string {
  const search = new URLSearchParams(query).toString();
  const path = id === "" ? page : `${page}/${encodeURIComponent(String(id))}`;
  return `#/${path}${search && `?${search}`}`;
}
