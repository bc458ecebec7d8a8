import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { ask } from "../api";
import { useLive } from "../live";
import { type Route, link } from "../router";
import type { Role, Session } from "../types";
import { State } from "./state";

const PAGES: { page: string; name: string; needs?: Role }[] = [
  { page: "fleet", name: "Fleet" },
  { page: "decisions", name: "Decisions" },
  { page: "events", name: "Events" },
  { page: "revisions", name: "Revisions" },
  { page: "plan", name: "Plan" },
  { page: "tokens", name: "Tokens", needs: "operator" },
  { page: "audit", name: "Audit", needs: "operator" },
];
const UNDER: Record<string, string> = { sites: "fleet", paths: "fleet" };
const RANK: Role[] = ["viewer", "operator", "admin"];

export const may = (session: Session, needs: Role): boolean => RANK.indexOf(session.role) >= RANK.indexOf(needs);

interface Props {
  session: Session;
  route: Route;
  left: () => void;
  children: ComponentChildren;
}

export function Shell({ session, route, left, children }: Props) {
  const main = useRef<HTMLElement>(null);
  const here = UNDER[route.page] ?? route.page;
  const first = useRef(true);
  useEffect(() => {
    const named = route.id || (PAGES.find((p) => p.page === here)?.name ?? "");
    document.title = `${named} · ${session.fleet} · Hawser`;
    // A new page is read from its beginning, by people and by screen readers.
    if (!first.current) main.current?.focus({ preventScroll: true });
    if (!first.current) scrollTo(0, 0);
    first.current = false;
  }, [route.page, route.id]);
  return (
    <div class="shell">
      <a class="skip" href="#main" onClick={(e) => (e.preventDefault(), main.current?.focus())}>
        Skip to content
      </a>
      <header class="bar">
        <a class="brand" href="#/">
          <Knot />
          <span>
            <strong>Hawser</strong> <span class="faint">{session.fleet}</span>
          </span>
        </a>
        <nav aria-label="Pages">
          {PAGES.filter((p) => !p.needs || may(session, p.needs)).map((p) => (
            <a key={p.page} href={link(p.page)} aria-current={p.page === here ? "page" : undefined}>
              {p.name}
            </a>
          ))}
        </nav>
        <div class="who">
          <Streaming />
          <Theme />
          <span class="role" title={`token ${session.token_id}`}>
            {session.role}
          </span>
          <button
            class="quiet"
            onClick={() => {
              void ask("session", { method: "DELETE" }).finally(() => {
                localStorage.removeItem("hawser-signed-in");
                left();
              });
            }}
          >
            Sign out
          </button>
        </div>
      </header>
      <Trouble />
      <main ref={main} id="main" tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}

function Streaming() {
  const live = useLive();
  return live.streaming ? <State mark="good" word="live" /> : <State mark="off" word="reconnecting" />;
}

/** The controller does not answer: what is shown is old. */
function Trouble() {
  const live = useLive();
  return (
    <div role="status" class={live.error ? "banner" : ""}>
      {live.error && <>What you see may be old. {live.error}</>}
    </div>
  );
}

const THEMES = ["auto", "light", "dark"] as const;

function Theme() {
  const [theme, set] = useState(() => localStorage.getItem("hawser-theme") ?? "auto");
  useEffect(() => {
    document.documentElement.dataset["theme"] = theme;
    localStorage.setItem("hawser-theme", theme);
    dispatchEvent(new Event("hawser-theme"));
  }, [theme]);
  const next = THEMES[(THEMES.indexOf(theme as "auto") + 1) % THEMES.length] ?? "auto";
  return (
    <button class="quiet" onClick={() => set(next)} title={`Colours: ${theme}. Next: ${next}`} aria-label={`Colours: ${theme}`}>
      <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">
        <circle cx="8" cy="8" r="6.2" fill="none" stroke="currentColor" stroke-width="1.5" />
        {theme === "auto" && <path d="M8 1.8a6.2 6.2 0 0 1 0 12.4z" fill="currentColor" />}
        {theme === "dark" && <circle cx="8" cy="8" r="6.2" fill="currentColor" />}
      </svg>
    </button>
  );
}

export function Knot() {
  return (
    <svg class="knot" viewBox="0 0 32 32" width="22" height="22" aria-hidden="true">
      <path d="M5 25C13 25 11 7 27 7M5 16H27M5 7C13 7 11 25 27 25" />
    </svg>
  );
}
