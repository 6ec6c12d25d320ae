// The fields of a service.

const number = (name, label, hint) => ({ name, kind: "number", label, optional: true, hint });
const file = (name, label) => ({ name, label, mono: true, optional: true });

export function serviceFields() {
  return [
    { name: "name", label: "Name", required: true, placeholder: "users" },
    { name: "base_url", label: "Base URL", required: true, mono: true, placeholder: "http://127.0.0.1:9000" },
    { name: "targets", kind: "targets", label: "Targets", default: [], hint: "Several addresses with weights. When there are any, they take the place of the base URL." },
    { name: "load_balancing", kind: "select", label: "Between targets", options: [["round_robin", "Round robin"], ["least_requests", "Least requests"], ["consistent_hash", "Consistent hash"]], default: "round_robin" },
    { name: "enabled", kind: "switch", label: "In use", hint: "Switched off it keeps its settings, and its requests get 503.", default: true },
    { group: "Health", fields: [
      { name: "health_check_path", label: "Path", mono: true, placeholder: "/health" },
      number("health_check.interval_seconds", "Interval", "Seconds."), number("health_check.timeout_seconds", "Timeout", "Seconds."),
      number("health_check.healthy_threshold", "Passed in a row to be healthy"), number("health_check.unhealthy_threshold", "Failed in a row to be unhealthy"),
      { name: "health_check.expected_statuses", kind: "words", label: "Expected statuses", numbers: true, nullable: true },
      { name: "when_unhealthy", kind: "select", label: "With no healthy target", options: [["try_all", "Try all the same"], ["fail", "Answer 503"]], default: "try_all" },
      number("health_check.jitter", "Jitter", "Share of the interval."),
      { name: "health_check.enabled", kind: "switch", label: "Check by itself", default: true },
    ] },
    { group: "Timeouts and host", fields: [
      number("connect_timeout_seconds", "Connect timeout", "Seconds."), number("read_timeout_seconds", "Read timeout", "Seconds between two reads of the answer."),
      { name: "preserve_host", kind: "switch", label: "Send the client's Host on", wide: true, default: false },
    ] },
    { group: "Circuit breaker", fields: [
      { name: "circuit_breaker.mode", kind: "select", label: "Mode", options: [["auto", "Automatic"], ["forced_open", "Forced open: nothing passes"], ["disabled", "Disabled: everything passes"]], default: "auto" },
      { name: "circuit_breaker.trip", kind: "select", label: "Opens by", options: [["", "The gateway's default"], ["consecutive", "Failures in a row"], ["rate", "Share of failures"]] },
      number("circuit_breaker.failure_threshold", "Failures in a row"), number("circuit_breaker.recovery_timeout", "Recovery timeout", "Seconds until it is tried again."),
      number("circuit_breaker.half_open_max_calls", "Successes to close"), number("circuit_breaker.failure_rate", "Share of failures", "Between 0 and 1."),
      number("circuit_breaker.minimum_calls", "Minimum of calls"), number("circuit_breaker.window_seconds", "Window", "Seconds."),
      { name: "circuit_breaker.failure_statuses", kind: "words", label: "Statuses that are failures", optional: true, numbers: true, nullable: true, placeholder: "5xx, 429" },
      number("circuit_breaker.slow_call_seconds", "Slow after", "Seconds; 0: nothing is slow."), number("circuit_breaker.slow_call_rate", "Share of slow answers"),
    ] },
    { group: "TLS to the service", fields: [
      { name: "tls.verify", kind: "switch", label: "Believe only a certificate for this host", wide: true, default: true },
      file("tls.ca_file", "Authority's file"), file("tls.server_name", "Server name"), file("tls.client_cert_file", "Client certificate's file"), file("tls.client_key_file", "Client key's file"),
    ] },
  ];
}
