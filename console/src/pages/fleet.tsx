import { Map } from "../parts/map";
import { ask } from "../api";
import { ago, plural, span, when } from "../format";
import { hurts, ofSite, ofUplink } from "../health";
import { useLive, useLoad } from "../live";
import { Fact, Note, State, Table } from "../parts/state";
import { link } from "../router";
import type { Decision } from "../types";
import { sentence } from "../words";

export function FleetPage() {
  const live = useLive();
  const moves = useLoad("moves", () => ask<{ decisions: Decision[] }>("decisions?limit=8"), 3_000);
  const fleet = live.fleet;
  if (!fleet) return <Note error={live.error}>Asking the controller…</Note>;
  const { status, sites, paths, troubles, rollout } = fleet;
  const found = hurts(sites, paths);
  const rolling = rollout.revision > 0 && !["done", "confirmed", "none", "completed", "aborted"].includes(rollout.phase);
  return (
    <>
      <h1 class="sr">Fleet {status.fleet}</h1>
      <dl class="strip">
        <Fact name="Sites">{status.sites}</Fact>
        <Fact name="Edges connected"><Of n={status.edges_connected} all={status.edges} /></Fact>
        <Fact name="Paths up"><Of n={status.paths_up} all={status.paths} /></Fact>
        <Fact name="Converged"><Of n={status.edges_converged} all={status.edges} /></Fact>
        <Fact name="Revision"><a href={link("revisions", status.revision)}>{status.revision}</a></Fact>
        <Fact name="Controller up">{span(status.uptime_s * 1_000)}</Fact>
      </dl>
      <div class="split">
        <section class="panel mapped">
          <h2>Topology</h2>
          <Map sites={sites} paths={paths} />
          <p class="legend faint">
            <span><i class="swatch used" /> carries traffic</span>
            <span><i class="swatch" /> warm</span>
            <State mark="warn" word="misses SLA" /> <State mark="bad" word="down" /> <State mark="off" word="connecting" />
          </p>
        </section>
        <div class="stack">
          <section class="panel" aria-live="polite">
            <h2>Where it hurts</h2>
            {found.length === 0 && troubles.length === 0 && !rolling && <Note><State mark="good" word="Nowhere." /></Note>}
            <ul class="hurts">
              {troubles.map((t) => (
                <li key={t.id}>
                  <State mark="warn" word={t.subject} />
                  <span class="faint">seen by {t.seen_by} of {plural(t.of, "site")}, since {when(t.since_unix_ms)}</span>
                </li>
              ))}
              {rolling && (
                <li>
                  <State mark="off" word={`revision ${rollout.revision} rolls out`} />
                  <span class="faint">{rollout.phase}, wave {rollout.wave} of {rollout.waves}</span>
                </li>
              )}
              {found.slice(0, 12).map((h) => (
                <li key={`${h.what} ${h.detail}`}>
                  <a href={link("sites", h.site)}><State mark={h.mark} word={h.what} /></a>
                  <span class="faint">{h.detail}</span>
                </li>
              ))}
            </ul>
            {found.length > 12 && <Note>and {found.length - 12} more</Note>}
          </section>
          <section class="panel">
            <h2>Sites</h2>
            <Table label="Sites" head={["Site", "Role", "State", "Uplinks", "#Paths up"]}>
              {sites.map((site) => {
                const health = ofSite(site, paths);
                const of = site.edges.reduce((n, edge) => n + edge.paths, 0);
                const up = site.edges.reduce((n, edge) => n + edge.paths_up, 0);
                return (
                  <tr key={site.name}>
                    <th scope="row"><a href={link("sites", site.name)}>{site.name}</a></th>
                    <td class="faint">{site.role}</td>
                    <td><State {...health} /></td>
                    <td class="tight">
                      {site.edges.flatMap((edge) =>
                        edge.uplinks.map((uplink) => {
                          const state = ofUplink(edge, uplink.name, paths);
                          return (
                            <span key={edge.name + uplink.name} data-uplink={`${site.name} ${uplink.name}`} data-mark={state.mark}>
                              <State mark={state.mark} word={state.mark === "good" ? uplink.name : `${uplink.name} ${state.word}`} />
                            </span>
                          );
                        }),
                      )}
                    </td>
                    <td class="n">{up} of {of}</td>
                  </tr>
                );
              })}
            </Table>
          </section>
        </div>
      </div>
      <section class="panel">
        <h2>Last moves <a class="more" href={link("decisions")}>all decisions</a></h2>
        <Table label="Last moves" head={["When", "From", "To", "Class", "What and why"]} empty={moves.value?.decisions.length === 0 && "No edge has reported a decision since the controller started."}>
          {moves.value?.decisions.map((d) => (
            <tr key={`${d.unix_ms}${d.edge}${d.peer_edge}${d.traffic_class}${d.to_path_id}`}>
              <td class="n" title={ago(d.unix_ms)}>{when(d.unix_ms)}</td>
              <td>{d.edge}</td>
              <td>{d.peer_edge || d.prefixes.join(", ")}</td>
              <td>{d.traffic_class}</td>
              <td class="wide"><a href={link("decisions", "", { edge: d.edge, at: String(d.unix_ms) })}>{sentence(d)}</a></td>
            </tr>
          ))}
        </Table>
        {moves.error && <Note error={moves.error} />}
      </section>
    </>
  );
}

function Of({ n, all }: { n: number; all: number }) {
  return (
    <span class={n < all ? "short" : ""}>
      {n} <span class="faint">of {all}</span>
    </span>
  );
}
