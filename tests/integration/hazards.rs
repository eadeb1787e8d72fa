//! What can go wrong around the processes of `stack` itself.

mod checks;
mod crowds;
mod deaths;
mod doctor;
mod endurance;
mod groups;
mod inheritance;
mod leftovers;
mod links;
mod lost_files;
mod meetings;
mod rivals;
mod strangers;
mod table;
