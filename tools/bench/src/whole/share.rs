//! A share of a processor, like that of a function whose memory comes with less than a whole core.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

/// The period in which a share is used up, in microseconds.
const PERIOD: u64 = 20_000;

/// A control group with one process, which has to end before this value does.
#[derive(Debug)]
pub(crate) struct Share(PathBuf);

impl Share {
    /// Limits a process to so many thousandths of one processor. Needs to be root, on Linux.
    pub(crate) fn of(process: u32, thousandths: u64) -> io::Result<Self> {
        let quota = PERIOD * thousandths / 1_000;
        let (parent, settings): (&str, [(&str, String); 2]) =
            if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
                let period = format!("{quota} {PERIOD}");
                ("/sys/fs/cgroup", [("cpu.max", period), ("cgroup.procs", process.to_string())])
            } else {
                fs::write(made("/sys/fs/cgroup/cpu")?.join("cpu.cfs_period_us"), PERIOD.to_string())?;
                let quota = ("cpu.cfs_quota_us", quota.to_string());
                ("/sys/fs/cgroup/cpu", [quota, ("cgroup.procs", process.to_string())])
            };
        let share = Self(made(parent)?);
        for (file, text) in settings {
            fs::write(share.0.join(file), text)?;
        }
        Ok(share)
    }
}

/// The folder of this program's group, which is created if necessary.
fn made(parent: &str) -> io::Result<PathBuf> {
    let folder = Path::new(parent).join(format!("perishable-bench-{}", process::id()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

impl Drop for Share {
    fn drop(&mut self) {
        // It is empty, since the process has ended. If it cannot be removed, it does no harm.
        fs::remove_dir(&self.0).ok();
    }
}
