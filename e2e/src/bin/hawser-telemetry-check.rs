fn main() -> std::process::ExitCode {
    hawser_e2e::telemetry::main()
}
