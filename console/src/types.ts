// What the API answers: see /openapi.json.

export type Role = "viewer" | "operator" | "admin";

export interface Session {
  fleet: string;
  token_id: string;
  role: Role;
  ends_unix_ms: number;
  controller_version: string;
}

export interface Status {
  fleet: string;
  controller_version: string;
  revision: number;
  sites: number;
  edges: number;
  edges_connected: number;
  edges_converged: number;
  paths: number;
  paths_up: number;
  uptime_s: number;
}

export interface Fault {
  code: string;
  path: string;
  message: string;
  mend: string;
}

export interface Uplink {
  name: string;
  interface: string;
  transport: string;
  provider: string;
  cost: number;
  metered: boolean;
  drained: boolean;
  used: "normal" | "standby" | "last-resort";
  carrier: boolean | null;
  addresses: string[];
  public_endpoints: string[];
}

export interface Edge {
  name: string;
  enrolled: boolean;
  connected: boolean;
  last_seen_unix_ms: number;
  agent_version: string;
  desired: string | null;
  applied: string | null;
  confirmed: string | null;
  last_nack: Fault[];
  paths: number;
  paths_up: number;
  uplinks: Uplink[];
}

export interface Site {
  name: string;
  role: string;
  edges: Edge[];
}

/** A tunnel with a device that is not Hawser. */
export interface Gateway {
  edge: string;
  name: string;
  /** Under keys that people put at both ends: nobody negotiates. */
  manual: boolean;
  uplink: string;
  state: "up" | "waiting" | "authenticated" | "connecting" | "blocked" | "unknown";
  reason: string;
  remote_address: string;
  tx_bytes: number;
  rx_bytes: number;
  rekeys: number;
  moves: number;
}

export type PathState = "up" | "connecting" | "down";

export interface PathEnd {
  site: string;
  edge: string;
  uplink: string;
  rtt_us: number | null;
  jitter_us: number | null;
  loss_tx_ppm: number | null;
  loss_rx_ppm: number | null;
  selected_for: string[];
  violates: { sla_class: string; reason: string }[];
  mos_milli: number | null;
  tx_bytes: number | null;
  rx_bytes: number | null;
  sample_unix_ms: number;
}

export interface Path {
  id: number;
  tunnel_id: number;
  state: PathState;
  ipv6: boolean;
  a: PathEnd;
  b: PathEnd;
}

export interface Candidate {
  path_id: number;
  name: string;
  next_hop: string;
  state: PathState;
  chosen: boolean;
  refused_because: string;
  rtt_us: number;
  jitter_us: number;
  loss_tx_ppm: number;
  loss_rx_ppm: number;
  limits_crossed: string[];
  confidence_ppm: number;
}

export interface Decision {
  unix_ms: number;
  edge: string;
  peer_edge: string;
  tunnel_id: number;
  traffic_class: string;
  from_path_id: number;
  to_path_id: number;
  cause: string;
  summary: string;
  prefixes: string[];
  from_next_hop: string;
  to_next_hop: string;
  advice_id: string;
  candidates: Candidate[];
}

export interface Explanation {
  unix_ms: number;
  path_id: number;
  path_name: string;
  meets_sla: boolean;
  since_unix_ms: number;
  cause: string;
  summary: string;
  candidates: Candidate[];
}

export interface Account {
  edge: string;
  peer_edge: string;
  peer_site: string;
  traffic_class: string;
  tunnel_id: number;
  in_force: Decision | null;
  next: Decision | null;
  explanation: Explanation | null;
}

export interface Explanations {
  accounts: Account[];
  left_out: number;
  next_hops: Decision[];
  remembered_since_unix_ms: number;
}

export interface Measured {
  unix_ms: number;
  span_ms: number;
  state: PathState;
  carries: boolean;
  rtt_us: number | null;
  jitter_us: number | null;
  loss_tx_ppm: number | null;
  loss_rx_ppm: number | null;
}

export interface EndHistory {
  site: string;
  edge: string;
  uplink: string;
  points: Measured[];
  next_since_unix_ms: number | null;
}

export interface ClassLimit {
  traffic_class: string;
  sla_class: string;
  max_rtt_us: number | null;
  max_jitter_us: number | null;
  max_loss_ppm: number | null;
}

export interface PathHistory {
  path_id: number;
  ends: EndHistory[];
  limits: ClassLimit[];
  /** Of what is older than the controller's own figures. */
  long_store: "none" | "not_asked" | "answered" | "failed";
}

export interface Event {
  sequence: number;
  unix_ms: number;
  code: string;
  site: string;
  edge: string;
  message: string;
  dropped_before: number;
}

export interface Trouble {
  id: string;
  subject: string;
  since_unix_ms: number;
  seen_by: number;
  of: number;
  advised: number;
  ending: boolean;
}

export interface Revision {
  revision: number;
  committed_unix_ms: number;
  committed_by: string;
  comment: string;
  document_sha256: string;
  current: boolean;
}

export interface Plan {
  base_revision: number;
  unchanged: boolean;
  sites: {
    site: string;
    action: string;
    edges: { edge: string; action: string; changes: { action: string; what: string; detail: string }[] }[];
  }[];
  blinks: { path_id: number; name: string; why: string; about_ms: number; stops_traffic: boolean }[];
  findings: { code: string; subject: string; message: string; mend: string }[];
}

export interface Applied {
  revision: number;
  unchanged: boolean;
  staged: boolean;
  changed: { edge: string; generation: string }[];
}

export interface Rollout {
  revision: number;
  from_revision: number;
  phase: string;
  wave: number;
  waves: number;
  reason: string;
  until_unix_ms: number;
  edges: { site: string; edge: string; wave: number; state: string }[];
}

export interface Token {
  id: string;
  kind: "enrolment" | "api";
  edge: string;
  role: string;
  created_unix_ms: number;
  expires_unix_ms: number;
  used: boolean;
  revoked: boolean;
  last_used_unix_ms: number;
  last_used_from: string;
  comment: string;
}

export interface AuditEntry {
  sequence: number;
  unix_ms: number;
  actor: string;
  action: string;
  subject: string;
  detail: string;
  suppressed: number;
  hash: string;
}

export interface ProblemBody {
  code: string;
  detail: string;
  mend: string;
  faults?: Fault[];
}
