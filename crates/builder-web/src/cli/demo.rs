//! `builder-web demo`: invented builds, taken in by the code that takes in real ones, and served.

use super::DemoArgs;

pub(super) fn run(_arguments: DemoArgs) -> anyhow::Result<()> {
    anyhow::bail!("not yet")
}
