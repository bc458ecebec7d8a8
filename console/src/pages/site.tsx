import { ask, now } from "../api";
import { ago, bytes, ms, percent, span, when } from "../format";
import { carries, ofEdge, ofGateway, ofPath, ofSite, ofUplink, silent } from "../health";
import { useLive, useLoad } from "../live";
import { Candidates, Evidence } from "../parts/why";
import { Fact, Note, State, Table } from "../parts/state";
import { link } from "../router";
import type { Account, Decision, Edge, Explanations, Gateway, Path, PathEnd } from "../types";
import { sentence } from "../words";

export function SitePage({ name }: { name: string }) {
  const live = useLive();
  const safe = encodeURIComponent(name);
  const why = useLoad(`why ${name}`, () => ask<Explanations>(`sites/${safe}/explanations?limit=100`), 3_000);
  const moves = useLoad(`decisions ${name}`, () => ask<{ decisions: Decision[] }>(`decisions?site=${safe}&limit=20`), 3_000);
  // All of a site's are in the first page, however short that is.
  const beyond = useLoad(`gateways ${name}`, () => ask<{ ike_tunnels: Gateway[] }>(`paths?site=${safe}&page_size=1`), 3_000);
  const fleet = live.fleet;
  if (!fleet) return <Note error={live.error}>Asking the controller…</Note>;
  const site = fleet.sites.find((s) => s.name === name);
  if (!site) return <Note error={`The fleet has no site ${name}.`} />;
  const paths = fleet.paths.filter((p) => p.a.site === name || p.b.site === name);
  return (
    <>
      <h1>
        {site.name} <span class="faint">{site.role}</span>
        <span class="after"><State {...ofSite(site, fleet.paths)} /></span>
      </h1>
      {site.edges.map((edge) => <EdgePanel key={edge.name} edge={edge} paths={fleet.paths} />)}
      <section class="panel">
        <h2>Paths</h2>
        <Table label="Paths" head={["Path", "State", "#RTT", "#Jitter", "#Loss out", "#Loss in", "#MOS", "#Sent", "#Received", "Carries"]} empty={paths.length === 0 && "It has no paths."}>
          {paths.map((path) => <PathRow key={path.id} path={path} site={name} />)}
        </Table>
      </section>
      {beyond.error && <Note error={beyond.error} />}
      {beyond.value && beyond.value.ike_tunnels.length > 0 && <Gateways of={beyond.value.ike_tunnels} />}
      <section class="panel">
        <h2>Traffic classes</h2>
        {why.error && <Note error={why.error} />}
        {why.value?.accounts.length === 0 && <Note>Its edges have told nothing since the controller started.</Note>}
        <ul class="moves">
          {why.value?.accounts.map((account) => <ClassRow key={`${account.edge}${account.peer_edge}${account.traffic_class}`} account={account} />)}
        </ul>
      </section>
      <section class="panel">
        <h2>Decisions <a class="more" href={link("decisions", "", { site: name })}>all of {name}</a></h2>
        {moves.error && <Note error={moves.error} />}
        {moves.value?.decisions.length === 0 && <Note>No decision is known since the controller started.</Note>}
        <ul class="moves">
          {moves.value?.decisions.map((d) => (
            <li key={`${d.unix_ms}${d.edge}${d.peer_edge}${d.traffic_class}${d.to_path_id}`}>
              <details>
                <summary><span class="n">{when(d.unix_ms)}</span> <strong>{d.edge} → {d.peer_edge || d.prefixes.join(", ")}</strong> {d.traffic_class}: {sentence(d)}</summary>
                <Evidence decision={d} />
              </details>
            </li>
          ))}
        </ul>
      </section>
    </>
  );
}

function EdgePanel({ edge, paths }: { edge: Edge; paths: Path[] }) {
  const health = ofEdge(edge);
  return (
    <section class="panel">
      <h2>Edge {edge.name} <span class="after"><State {...health} /></span></h2>
      <dl class="facts">
        <Fact name="Last heard">{edge.connected && !silent(edge) ? "now" : ago(edge.last_seen_unix_ms)}</Fact>
        <Fact name="Agent">{edge.agent_version || "–"}</Fact>
        <Fact name="Generation">{edge.applied ?? "none"}{edge.applied !== edge.desired && <span class="faint"> (wanted {edge.desired})</span>}</Fact>
        <Fact name="Confirmed">{edge.confirmed ?? "–"}</Fact>
        <Fact name="Paths up">{edge.paths_up} <span class="faint">of {edge.paths}</span></Fact>
      </dl>
      {edge.last_nack.map((fault) => <Note key={fault.path} error={`It refused its generation. ${fault.path} ${fault.message}: ${fault.mend}`} />)}
      <Table label={`Uplinks of ${edge.name}`} head={["Uplink", "State", "Interface", "Provider", "Transport", "#Cost", "Use", "Addresses", "Seen as"]}>
        {edge.uplinks.map((uplink) => (
          <tr key={uplink.name}>
            <th scope="row">{uplink.name}</th>
            <td><State {...ofUplink(edge, uplink.name, paths)} /></td>
            <td>{uplink.interface}</td>
            <td>{uplink.provider || "–"}</td>
            <td>{uplink.transport}</td>
            <td class="n">{uplink.cost}</td>
            <td>{uplink.used}{uplink.metered && ", metered"}</td>
            <td class="code">{uplink.addresses.join(" ") || "–"}</td>
            <td class="code">{uplink.public_endpoints.join(" ") || "–"}</td>
          </tr>
        ))}
      </Table>
    </section>
  );
}

function Gateways({ of }: { of: Gateway[] }) {
  return (
    <section class="panel">
      <h2>Tunnels with other gateways</h2>
      <Table label="Tunnels with other gateways" head={["Tunnel", "Keys", "State", "Edge", "Uplink", "Gateway", "#Sent", "#Received", "#Rekeys", "Why"]}>
        {of.map((tunnel) => (
          <tr key={`${tunnel.edge}${tunnel.name}`}>
            <th scope="row">{tunnel.name}</th>
            <td>{tunnel.manual ? "manual" : "IKE"}</td>
            <td><State {...ofGateway(tunnel)} /></td>
            <td>{tunnel.edge}</td>
            <td>{tunnel.uplink}</td>
            <td class="code">{tunnel.remote_address || "–"}</td>
            <td class="n">{bytes(tunnel.tx_bytes)}</td>
            <td class="n">{bytes(tunnel.rx_bytes)}</td>
            <td class="n">{tunnel.manual ? "–" : tunnel.rekeys}</td>
            <td>{tunnel.reason}</td>
          </tr>
        ))}
      </Table>
    </section>
  );
}

function PathRow({ path, site }: { path: Path; site: string }) {
  const [own, peer]: [PathEnd, PathEnd] = path.a.site === site ? [path.a, path.b] : [path.b, path.a];
  const heard = path.state === "up";
  return (
    <tr class={carries(path) && own.selected_for.length > 0 ? "chosen" : ""}>
      <th scope="row"><a href={link("paths", path.id)}>{own.uplink} <span aria-label="to">→</span> {peer.site} {peer.uplink}</a>{path.ipv6 && <span class="faint"> IPv6</span>}</th>
      <td><State {...ofPath(path)} /></td>
      <td class="n">{heard ? ms(own.rtt_us) : "–"}</td>
      <td class="n">{heard ? ms(own.jitter_us) : "–"}</td>
      <td class="n">{heard ? percent(own.loss_tx_ppm) : "–"}</td>
      <td class="n">{heard ? percent(own.loss_rx_ppm) : "–"}</td>
      <td class="n">{own.mos_milli ? (own.mos_milli / 1_000).toFixed(2) : "–"}</td>
      <td class="n">{bytes(own.tx_bytes)}</td>
      <td class="n">{bytes(own.rx_bytes)}</td>
      <td>{carries(path) ? own.selected_for.join(", ") || `only back: ${peer.selected_for.join(", ")}` : <span class="faint">warm</span>}</td>
    </tr>
  );
}

function ClassRow({ account }: { account: Account }) {
  const told = account.explanation;
  if (!told) return null;
  return (
    <li>
      <details>
        <summary>
          <strong>{account.edge} → {account.peer_edge}</strong> {account.traffic_class}:{" "}
          {told.path_id === 0 ? "no path" : <>on {told.path_name}</>} for {span(now() - told.since_unix_ms)},{" "}
          {told.meets_sla ? <State mark="good" word="SLA met" /> : <State mark="warn" word="SLA not met" />}
        </summary>
        <div class="evidence">
          {account.in_force && <p>{sentence(account.in_force)}</p>}
          <p>Said {ago(told.unix_ms)}: {told.summary || "no path is better"}.</p>
          <Candidates of={told.candidates} />
        </div>
      </details>
    </li>
  );
}
