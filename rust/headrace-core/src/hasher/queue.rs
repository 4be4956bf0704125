//! What several threads produce and one takes, in order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::error::{Error, Result};

/// Calls `produce` with each number below `count`, on this thread and on `threads - 1` others, and `take` with what was made,
/// in the order of the numbers and on this thread only. A thread keeps its `S`. The first error in that order ends it.
///
/// This thread makes something itself whenever the next is not ready, so that none waits; what was made and not yet taken
/// is kept.
pub(super) fn in_order<S: Default, M: Send>(
    count: usize,
    threads: usize,
    produce: impl Fn(&mut S, usize) -> Result<M> + Sync,
    mut take: impl FnMut(M) -> Result<()>,
) -> Result<()> {
    let mut state = S::default();
    if threads <= 1 {
        return (0..count).try_for_each(|number| take(produce(&mut state, number)?));
    }
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let help = |sender: &mpsc::Sender<_>| {
        let mut state = S::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count || sender.send((number, produce(&mut state, number))).is_err() {
                return;
            }
        }
    };
    let failed = |reason: String| Error::Threads { threads, reason };
    thread::scope(|scope| {
        let work = || {
            for index in 1..threads {
                let (sender, help) = (sender.clone(), &help);
                thread::Builder::new()
                    .name(format!("headrace-hasher-{index}"))
                    .spawn_scoped(scope, move || help(&sender))
                    .map_err(|error| failed(error.to_string()))?;
            }
            drop(sender);
            let mut ready: Vec<Option<Result<M>>> = (0..count).map(|_| None).collect();
            let mut taken = 0;
            while taken < count {
                for (number, made) in receiver.try_iter() {
                    ready[number] = Some(made);
                }
                if let Some(made) = ready[taken].take() {
                    take(made?)?;
                    taken += 1;
                    continue;
                }
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number < count {
                    ready[number] = Some(produce(&mut state, number));
                } else {
                    let (number, made) = receiver.recv().map_err(|error| failed(error.to_string()))?;
                    ready[number] = Some(made);
                }
            }
            Ok(())
        };
        let outcome = work();
        // Nobody needs to go on after an error.
        next.store(count, Ordering::Relaxed);
        outcome
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_in_order() {
        for threads in 1..5 {
            let mut taken = Vec::new();
            let produce = |made: &mut usize, number: usize| {
                *made += 1;
                Ok((number, *made))
            };
            let outcome = in_order(1000, threads, produce, |(number, made)| {
                assert!((1..=number + 1).contains(&made), "{made} of {number}");
                taken.push(number);
                Ok(())
            });
            assert!(outcome.is_ok());
            assert_eq!(taken, (0..1000).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_error_in_order_ends_it() {
        for threads in 1..5 {
            let mut taken = 0;
            let produce = |(): &mut (), number: usize| {
                if number % 300 == 299 {
                    Err(Error::TooManyValues { values: number, column: None, row: None })
                } else {
                    Ok(number)
                }
            };
            let outcome = in_order(1000, threads, produce, |number| {
                taken = number;
                Ok(())
            });
            assert!(matches!(outcome, Err(Error::TooManyValues { values: 299, .. })));
            assert_eq!(taken, 298);
            let refused = in_order(
                1000,
                threads,
                |(): &mut (), number| Ok(number),
                |number| {
                    if number == 7 {
                        Err(Error::TooManyValues { values: number, column: None, row: None })
                    } else {
                        Ok(())
                    }
                },
            );
            assert!(matches!(refused, Err(Error::TooManyValues { values: 7, .. })));
        }
    }
}
