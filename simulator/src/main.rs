use std::process::ExitCode;

fn main() -> ExitCode {
    simulator::command::main()
}
