//! `--device` and `--precision`: the same for every command that opens a checkpoint to encode.

use tamis_encoder::{Compute, DeviceChoice, Precision};

/// Where a checkpoint computes, and how exactly. The model-free encoder has nothing to choose.
#[derive(Clone, Copy, clap::Args)]
pub struct ComputeArgs {
    /// Where checkpoints compute: cpu, cuda (the first GPU) or cuda:N
    #[arg(long, default_value_t = Compute::default().device)]
    device: DeviceChoice,
    /// How exactly checkpoints compute on the CPU: f32, int16 or int8 [default: int8 for models stored in 8 bits, else f32]
    #[arg(long)]
    precision: Option<Precision>,
}

impl ComputeArgs {
    /// The choice, when this program and this machine can do it, whatever the model.
    pub fn checked(self) -> anyhow::Result<Compute> {
        let compute = Compute {
            device: self.device,
            precision: self.precision,
        };
        compute.check()?;
        Ok(compute)
    }
}
