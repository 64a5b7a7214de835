//! Every step with every failure: what the caller is told, what every process has then, and that
//! the next operation works.

mod calls;
mod deaths;
mod joins;
mod results;
mod scene;
mod slow;
mod states;
mod stops;
