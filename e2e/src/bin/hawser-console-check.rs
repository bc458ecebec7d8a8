fn main() -> std::process::ExitCode {
    hawser_e2e::console::main()
}
