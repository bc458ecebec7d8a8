import { useState } from "preact/hooks";
import { ask } from "../api";
import { full, when } from "../format";
import { useLive, useLoad } from "../live";
import { Note } from "../parts/state";
import { Evidence } from "../parts/why";
import { link } from "../router";
import type { Decision } from "../types";
import { isPath, sentence, title } from "../words";

export function DecisionsPage({ query }: { query: URLSearchParams }) {
  const live = useLive();
  const site = query.get("site") ?? "";
  const [edge, at] = [query.get("edge"), Number(query.get("at"))];
  const [open, setOpen] = useState<string | null>(null);
  const until = at > 0 ? `&until_unix_ms=${at}` : "";
  const found = useLoad(`decisions ${site} ${at}`, () => ask<{ decisions: Decision[] }>(`decisions?site=${encodeURIComponent(site)}${until}&limit=200`), at > 0 ? 0 : 3_000);
  const asked = found.value?.decisions.find((d) => d.edge === edge && d.unix_ms === at);
  return (
    <>
      <h1>Decisions</h1>
      <div class="tools">
        <label>
          Site{" "}
          <select value={site} onChange={(e) => (location.hash = link("decisions", "", e.currentTarget.value ? { site: e.currentTarget.value } : {}))}>
            <option value="">all</option>
            {live.fleet?.sites.map((s) => <option key={s.name} value={s.name}>{s.name}</option>)}
          </select>
        </label>
        {at > 0 && <span>up to {full(at)} <a href={link("decisions", "", site ? { site } : {})}>show the newest</a></span>}
      </div>
      {asked && <Explained d={asked} />}
      {found.error && <Note error={found.error} />}
      {found.value?.decisions.length === 0 && <Note>No edge has reported a decision since the controller started.</Note>}
      <section class="panel">
        <h2>{asked ? "Before it" : "Newest first"}</h2>
        <ul class="moves">
          {found.value?.decisions.filter((d) => d !== asked).map((d) => {
            const key = `${d.unix_ms}${d.edge}${d.peer_edge}${d.traffic_class}${d.to_path_id}`;
            return (
              <li key={key}>
                <details open={open === key} onToggle={(e) => e.currentTarget.open && setOpen(key)}>
                  <summary><span class="n">{when(d.unix_ms)}</span> <strong>{title(d)}</strong>: {sentence(d)}</summary>
                  <Evidence decision={d} />
                  <Links d={d} />
                </details>
              </li>
            );
          })}
        </ul>
      </section>
    </>
  );
}

function Explained({ d }: { d: Decision }) {
  return (
    <section class="panel explained" aria-label="The decision">
      <h2>{title(d)} <span class="faint">{full(d.unix_ms)}</span></h2>
      <p class="lead">{sentence(d)}</p>
      <Evidence decision={d} />
      <Links d={d} />
    </section>
  );
}

function Links({ d }: { d: Decision }) {
  return (
    <p class="links">
      {isPath(d.from_path_id) && <a href={link("paths", d.from_path_id)}>Chart of the path it left</a>}
      {isPath(d.to_path_id) && <a href={link("paths", d.to_path_id)}>Chart of the path it took</a>}
    </p>
  );
}
