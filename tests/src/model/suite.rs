//! A suite: which stores, how many cases, and how much they must have done.

use super::case::{Case, cases};
use super::{Counts, Kind, parallel, run};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// The factor of `VERIFY_SCALE` on the number of cases.
pub fn scale() -> u32 {
    let asked = std::env::var("VERIFY_SCALE").ok().and_then(|scale| scale.parse().ok());
    asked.unwrap_or(1).max(1)
}

/// One suite of random cases.
#[derive(Debug, Clone, Copy)]
pub struct Suite {
    /// The kinds of the stores, given whether keys are sorted.
    pub kinds: &'static [fn(bool) -> Kind],
    /// Run what is compatible at once.
    pub parallel: bool,
    /// Cases at scale 1.
    pub cases: u32,
    /// Of the random cases.
    pub seed: u8,
}

impl Suite {
    /// Runs the cases and tells what they did, or the smallest case that fails.
    pub fn run(&self) -> Result<Counts, String> {
        let counts = Counts::default();
        let mut config = Config::with_cases(self.cases * scale());
        config.failure_persistence = None;
        config.max_shrink_iters = 20_000;
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[self.seed; 32]);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let done = runner.run(&cases(self.kinds, self.parallel), |case| {
            self.case(&case, &counts).map_err(|failure| TestCaseError::fail(failure.0))
        });
        match done {
            Ok(()) => Ok(counts),
            Err(TestError::Fail(why, case)) => Err(format!("{why}\n{case:#?}")),
            Err(TestError::Abort(why)) => Err(why.to_string()),
        }
    }

    /// Runs one case.
    fn case(&self, case: &Case, counts: &Counts) -> super::Outcome {
        let kinds = self.kinds.iter().map(|kind| kind(case.setup.sorted)).collect();
        match self.parallel {
            true => parallel::run(case, kinds, counts),
            false => run::run(case, kinds, counts),
        }
    }
}
