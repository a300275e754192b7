//! Changes to the weights file of a copied fixture.

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::path::Path;

/// Rewrites the weights of `dir`, tensor by tensor: `None` leaves one out.
pub(crate) fn rewrite(
    dir: &Path,
    change: impl Fn(&str, Dtype, Vec<usize>, Vec<u8>) -> Option<(Dtype, Vec<usize>, Vec<u8>)>,
) {
    rebuild(dir, |name, view| {
        let changed = change(name, view.dtype(), view.shape().to_vec(), view.data().to_vec())?;
        Some((name.to_owned(), changed))
    });
}

/// Replaces `from` by `to` in the names of all tensors of `dir`; one must have it.
pub(crate) fn rename(dir: &Path, from: &str, to: &str) {
    let found = std::cell::Cell::new(false);
    rebuild(dir, |name, view| {
        found.set(found.get() || name.contains(from));
        let tensor = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
        Some((name.replace(from, to), tensor))
    });
    assert!(found.get(), "no tensor is called {from}");
}

fn rebuild(dir: &Path, change: impl Fn(&str, &TensorView<'_>) -> Option<(String, (Dtype, Vec<usize>, Vec<u8>))>) {
    let path = dir.join("model.safetensors");
    let bytes = std::fs::read(&path).expect("there");
    let tensors = SafeTensors::deserialize(&bytes).expect("whole");
    let changed: Vec<_> = tensors.iter().filter_map(|(name, view)| change(name, &view)).collect();
    let views = changed.iter().map(|(name, (dtype, shape, data))| {
        let view = TensorView::new(*dtype, shape.clone(), data).expect("lengths agree");
        (name.as_str(), view)
    });
    let bytes = safetensors::serialize(views, None).expect("valid");
    std::fs::write(path, bytes).expect("writable");
}
