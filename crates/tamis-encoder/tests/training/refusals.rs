//! Batches and options that do not fit are refused, and the message says where.

use candle_core::{DType, Device, Tensor};
use serde_json::json;
use tamis_encoder::Error;
use tamis_encoder::training::{ColumnWeights, Loss, LossInput, Penalties, Penalty, PenaltyInput};

fn ones(rows: usize, width: usize) -> Tensor {
    Tensor::ones((rows, width), DType::F32, &Device::Cpu).expect("small")
}

fn loss(options: serde_json::Value) -> Loss {
    serde_json::from_value(options).expect("options")
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>, expected: &str) {
    let message = result.expect_err("refused").to_string();
    assert!(message.contains(expected), "{message} does not say {expected}");
}

#[test]
fn shapes_that_do_not_fit() {
    let in_batch = loss(json!({"contrastive": "in_batch"}));
    let (queries, documents) = (ones(2, 4), ones(6, 4));
    let of = |queries: &Tensor, documents: &Tensor, group| in_batch.compute(&LossInput::new(queries, documents, group));
    assert!(of(&queries, &documents, 3).is_ok());
    refused(of(&queries, &documents, 2), "documents has shape [6, 4], [4, 4]");
    refused(of(&queries, &documents, 0), "documents has shape");
    refused(of(&queries, &ones(6, 5), 3), "documents has shape [6, 5]");
    let empty = Tensor::zeros((0, 4), DType::F32, &Device::Cpu).expect("empty");
    refused(of(&empty, &empty, 1), "queries has shape [0, 4]");
    let teacher = ones(2, 4);
    let mut input = LossInput::new(&queries, &documents, 3);
    input.teacher = Some(&teacher);
    refused(in_batch.compute(&input), "teacher has shape [2, 4], [2, 3] or [2, 6]");
}

#[test]
fn pairs_that_cannot_be_excluded() {
    let (queries, documents) = (ones(2, 4), ones(4, 4));
    for (pair, expected) in [
        ((0, 0), "query 0 and document 0: it is the query's own positive"),
        ((1, 2), "own positive"),
        ((2, 0), "fewer queries"),
        ((0, 4), "fewer documents"),
    ] {
        let mut input = LossInput::new(&queries, &documents, 2);
        let excluded = [pair];
        input.excluded = &excluded;
        refused(loss(json!({"contrastive": "in_batch"})).compute(&input), expected);
    }
}

#[test]
fn what_a_loss_needs_and_the_batch_lacks() {
    let (queries, documents) = (ones(2, 4), ones(4, 4));
    let input = LossInput::new(&queries, &documents, 2);
    refused(
        loss(json!({"margin_mse": {}})).compute(&input),
        "margin_mse needs a teacher's scores",
    );
    refused(loss(json!("term_mse")).compute(&input), "term_mse needs target weights");
    let teacher = ones(2, 2);
    let batch = loss(json!({"kl": {"candidates": "batch"}}));
    let with = LossInput {
        teacher: Some(&teacher),
        ..input
    };
    refused(batch.compute(&with), "for all documents of the batch");
    let alone = LossInput::new(&queries, &queries, 1);
    for name in ["pairwise", "other_negatives", "bpr", "negative_likelihood"] {
        refused(loss(json!({"contrastive": name})).compute(&alone), "negatives");
    }
    assert!(loss(json!({"contrastive": "in_batch"})).compute(&alone).is_ok());
}

#[test]
fn options_out_of_range_or_unknown() {
    for (options, expected) in [
        (
            json!({"kl": {"student_temperature": 0.0}}),
            "loss.kl.student_temperature is 0",
        ),
        (
            json!({"kl": {"teacher_temperature": -1.0}}),
            "loss.kl.teacher_temperature",
        ),
        (
            json!({"contrastive": {"sentence_transformers": {"scale": 0.0}}}),
            "sentence_transformers.scale",
        ),
        (json!({"sum": []}), "loss.sum is empty"),
        (
            json!({"sum": [{"weight": -1.0, "loss": {"kl": {}}}]}),
            "loss.sum[0].weight",
        ),
        (
            json!({"sum": [{"weight": 1.0, "loss": {"sum": []}}]}),
            "loss.sum[0].loss is a sum",
        ),
        (
            json!({"sum": [{"weight": 1.0, "loss": {"kl": {}}}, {"weight": 1.0, "loss": {"kl": {}}}]}),
            "loss.sum[1].name is kl",
        ),
        (
            json!({"sum": [{"weight": 1.0, "loss": {"kl": {"student_temperature": 0.0}}}]}),
            "student_temperature",
        ),
    ] {
        refused(loss(options).validate(), expected);
    }
    for options in [
        json!({"kl": {"temperature": 1.0}}),
        json!({"margin_mse": {"all": true}}),
        json!({"contrastive": "everything"}),
        json!({"contrastive": {"open_search": {}}}),
        json!({"sum": [{"weight": 1.0, "loss": {"kl": {}}, "why": 0}]}),
        json!({"hinge": {}}),
    ] {
        assert!(serde_json::from_value::<Loss>(options.clone()).is_err(), "{options}");
    }
}

#[test]
fn penalties_that_do_not_fit() {
    let penalty = |options: serde_json::Value| serde_json::from_value::<Penalty>(options);
    let joint = json!({"side": "query", "regulariser": "joint_flops", "weight": 1.0});
    let alone = penalty(joint).expect("options");
    refused(
        Penalties::new(vec![alone], 1),
        "penalties[0].side is one side; \"both\"",
    );
    let flops = |weight: f64| {
        penalty(json!({"side": "document", "regulariser": {"flops": {"columns": "inverse_idf"}}, "weight": weight}))
            .expect("options")
    };
    refused(Penalties::new(vec![flops(-1.0)], 1), "penalties[0].weight is -1");
    refused(
        Penalties::new(vec![flops(1.0), flops(2.0)], 1),
        "penalties[1].name is document_flops",
    );
    let share = json!({"side": "query", "regulariser": "l1", "weight": 1.0,
        "schedule": {"linear": {"length": {"share": 2.0}}}});
    let share = penalty(share).expect("options");
    refused(
        Penalties::new(vec![share], 1),
        "penalties[0].schedule.linear.length.share",
    );
    assert!(penalty(json!({"side": "query", "regulariser": "l1", "weight": 1.0, "lambda": 1.0})).is_err());
    assert!(penalty(json!({"side": "query", "regulariser": {"flops": {"threshold": 1}}, "weight": 1.0})).is_err());

    let penalties = Penalties::new(vec![flops(1.0)], 1).expect("valid");
    let (queries, documents) = (ones(2, 4), ones(4, 4));
    let mut columns = ColumnWeights::default();
    let of = |documents: &Tensor, columns: &ColumnWeights| {
        penalties.compute(
            0,
            &PenaltyInput {
                queries: &queries,
                documents,
                group: 2,
                columns,
            },
        )
    };
    refused(of(&documents, &columns), "needs the IDF");
    refused(columns.set_idf(&[1.0, 0.0]), "idf[1] is 0");
    columns.set_idf(&[1.0; 3]).expect("above 0");
    refused(of(&documents, &columns), "column weights has shape [3], [4]");
    refused(of(&ones(3, 4), &columns), "documents has shape [3, 4], [4, 4]");
}
