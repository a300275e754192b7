//! Where a model computes and how exactly: chosen when it is opened, and no part of the model.
//!
//! Neither changes what a vector means, so neither counts for fingerprints or stored descriptions.

use crate::Error;
use crate::transformer::Placement;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Where and how exactly a checkpoint computes; by default on the CPU, as exactly as its weights are stored.
///
/// [`crate::open_with`] refuses what this build, this machine or the device cannot do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compute {
    /// The device.
    pub device: DeviceChoice,
    /// The precision, for devices that have a choice. Where it is not said, a dense encoder whose matrices are stored in
    /// 8 bits, and the lifted model around it, compute on the CPU in [`Precision::Int8`], and all else in single
    /// precision.
    pub precision: Option<Precision>,
}

/// A device, written `cpu`, `cuda` (the first one) or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The processor, with as many threads as it has cores.
    #[default]
    Cpu,
    /// The CUDA device of this number, from 0. Needs a build with the feature `cuda`.
    Cuda(usize),
}

/// The precision of weights and products on the CPU, written `f32`, `int16` or `int8`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// 16-bit integers.
    Int16,
    /// 8-bit integers.
    Int8,
}

impl From<Precision> for tamis_kernels::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Int16 => Self::Int16,
            Precision::Int8 => Self::Int8,
        }
    }
}

impl Compute {
    /// Whether this program and this machine can compute so. Starts the device, where it is not the CPU, and lets it go.
    ///
    /// # Errors
    /// When the program was built without the device, the device is not there or does not start, or it does not have
    /// the precision.
    pub fn check(self) -> Result<(), Error> {
        Placement::of(self).map(drop)
    }

    /// The precision of a model whose weights are stored in 8 bits, or not.
    pub(crate) fn settled(self, in_eight_bits: bool) -> Precision {
        match self.device {
            DeviceChoice::Cpu if in_eight_bits => self.precision.unwrap_or(Precision::Int8),
            _ => self.precision.unwrap_or_default(),
        }
    }

    /// Refuses combinations that no device has.
    pub(crate) fn check_precision(self) -> Result<(), Error> {
        match (self.device, self.precision) {
            (DeviceChoice::Cpu, _) | (_, None | Some(Precision::F32)) => Ok(()),
            (device, Some(precision)) => Err(Error::DevicePrecision { device, precision }),
        }
    }
}

impl fmt::Display for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = self.device;
        match self.precision {
            Some(precision) => write!(f, "device={device} precision={precision}"),
            None => write!(f, "device={device} precision=as-stored"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || Error::UnknownDevice { found: text.to_owned() };
        match text.split_once(':') {
            None if text == "cpu" => Ok(Self::Cpu),
            None if text == "cuda" => Ok(Self::Cuda(0)),
            // A sign would parse too.
            Some(("cuda", number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                number.parse().map(Self::Cuda).map_err(|_| unknown())
            }
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(device: DeviceChoice) -> Self {
        device.to_string()
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "f32" => Ok(Self::F32),
            "int16" => Ok(Self::Int16),
            "int8" => Ok(Self::Int8),
            _ => Err(Error::UnknownPrecision { found: text.to_owned() }),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Int16 => "int16",
            Self::Int8 => "int8",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for (device, text) in [
            (DeviceChoice::Cpu, "cpu"),
            (DeviceChoice::Cuda(0), "cuda"),
            (DeviceChoice::Cuda(3), "cuda:3"),
        ] {
            assert_eq!(device.to_string(), text);
            assert_eq!(text.parse::<DeviceChoice>().expect("own text"), device);
        }
        assert_eq!(
            "cuda:0".parse::<DeviceChoice>().expect("the first"),
            DeviceChoice::Cuda(0)
        );
        for precision in [Precision::F32, Precision::Int16, Precision::Int8] {
            assert_eq!(precision.to_string().parse::<Precision>().expect("own text"), precision);
        }
        let compute = Compute {
            device: DeviceChoice::Cuda(1),
            precision: Some(Precision::F32),
        };
        let json = serde_json::to_string(&compute).expect("JSON");
        assert_eq!(json, r#"{"device":"cuda:1","precision":"f32"}"#);
        assert_eq!(serde_json::from_str::<Compute>(&json).expect("own text"), compute);
        assert_eq!(
            serde_json::from_str::<Compute>("{}").expect("defaults"),
            Compute::default()
        );
    }

    #[test]
    fn other_names_are_refused() {
        for text in [
            "",
            "gpu",
            "CPU",
            "cpu:0",
            "cuda:",
            "cuda:-1",
            "cuda:+1",
            "cuda:x",
            "cuda:99999999999999999999",
        ] {
            let message = text.parse::<DeviceChoice>().expect_err("no device").to_string();
            assert!(
                message.contains(&format!("{text:?}")) && message.contains("cuda:N"),
                "{message}"
            );
        }
        for text in ["", "f16", "int4", "INT8"] {
            let message = text.parse::<Precision>().expect_err("no precision").to_string();
            assert!(message.contains("int16"), "{message}");
        }
    }

    #[test]
    fn where_nothing_is_said_precision_is_that_of_the_weights() {
        let of = |device, precision, in_eight_bits| Compute { device, precision }.settled(in_eight_bits);
        let (cpu, cuda) = (DeviceChoice::Cpu, DeviceChoice::Cuda(0));
        assert_eq!(of(cpu, None, true), Precision::Int8);
        assert_eq!(of(cpu, None, false), Precision::F32);
        assert_eq!(of(cuda, None, true), Precision::F32);
        assert_eq!(of(cpu, Some(Precision::F32), true), Precision::F32);
        assert_eq!(of(cpu, Some(Precision::Int16), false), Precision::Int16);
    }

    #[test]
    fn only_the_cpu_has_a_choice_of_precision() {
        let of = |device, precision| {
            let precision = Some(precision);
            Compute { device, precision }.check_precision()
        };
        assert!(of(DeviceChoice::Cpu, Precision::Int8).is_ok());
        assert!(of(DeviceChoice::Cuda(0), Precision::F32).is_ok());
        let message = of(DeviceChoice::Cuda(0), Precision::Int8)
            .expect_err("refused")
            .to_string();
        assert!(message.contains("int8") && message.contains("cuda"), "{message}");
    }
}
