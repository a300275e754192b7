//! Parameters on another device. On the device where they are already nothing is copied.

use crate::transformer::{
    LayerParameters, LinearParameters, MlmParameters, NormParameters, Norms, Parameters, PositionTable,
};
use candle_core::{Device, Result, Tensor};

/// Parameters that can be moved.
pub(super) trait Transfer: Sized {
    /// The same on `device`.
    fn on(&self, device: &Device) -> Result<Self>;
}

impl Transfer for Tensor {
    fn on(&self, device: &Device) -> Result<Self> {
        self.to_device(device)
    }
}

impl<T: Transfer> Transfer for Option<T> {
    fn on(&self, device: &Device) -> Result<Self> {
        self.as_ref().map(|parameters| parameters.on(device)).transpose()
    }
}

impl Transfer for Parameters {
    fn on(&self, device: &Device) -> Result<Self> {
        Ok(Self {
            words: self.words.on(device)?,
            positions: self.positions.on(device)?,
            token_type: self.token_type.on(device)?,
            norm: self.norm.on(device)?,
            layers: self
                .layers
                .iter()
                .map(|layer| layer.on(device))
                .collect::<Result<_>>()?,
            final_norm: self.final_norm.on(device)?,
            heads: self.heads,
            activation: self.activation,
        })
    }
}

impl Transfer for PositionTable {
    fn on(&self, device: &Device) -> Result<Self> {
        Ok(Self {
            table: self.table.on(device)?,
            padding: self.padding,
        })
    }
}

impl Transfer for LayerParameters {
    fn on(&self, device: &Device) -> Result<Self> {
        Ok(Self {
            qkv: self.qkv.on(device)?,
            mix: self.mix.on(device)?,
            up: self.up.on(device)?,
            gated: self.gated,
            down: self.down.on(device)?,
            norms: self.norms.on(device)?,
            rotary: self.rotary.clone(),
            window: self.window,
        })
    }
}

impl Transfer for Norms {
    fn on(&self, device: &Device) -> Result<Self> {
        Ok(match self {
            Self::After { mix, down } => Self::After {
                mix: mix.on(device)?,
                down: down.on(device)?,
            },
            Self::Before { mix, down } => Self::Before {
                mix: mix.on(device)?,
                down: down.on(device)?,
            },
        })
    }
}

impl Transfer for LinearParameters {
    fn on(&self, device: &Device) -> Result<Self> {
        Ok(Self {
            weight: self.weight.on(device)?,
            bias: self.bias.on(device)?,
        })
    }
}

impl Transfer for NormParameters {
    fn on(&self, device: &Device) -> Result<Self> {
        Ok(Self {
            weight: self.weight.on(device)?,
            bias: self.bias.on(device)?,
            epsilon: self.epsilon,
        })
    }
}

impl Transfer for MlmParameters {
    fn on(&self, device: &Device) -> Result<Self> {
        Ok(Self {
            transform: self.transform.on(device)?,
            activation: self.activation,
            norm: self.norm.on(device)?,
            decoder: self.decoder.on(device)?,
            bias: self.bias.on(device)?,
        })
    }
}
