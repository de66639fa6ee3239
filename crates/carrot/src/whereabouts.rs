//! The answer to `/owner/{group}/{key}` as JSON: where a key falls, who owns it, and what each member holds of it.
//!
//! The library asks the members; here its answer is written down. Keys are shown escaped and cut, as in logs.

use carrotcache::placement::Spot;
use carrotcache::{AtMember, Cluster, Group, Holding, Key, Region, Whereabouts, with_causes};
use serde_json::{Value, json};

/// What `cluster`'s node has seen of the key.
pub fn json(cluster: &Cluster, group: &Group, key: &[u8], seen: &Whereabouts) -> String {
    let mut told = json!({
        "group": group.name().as_str(),
        "key": Key::new(key).to_string(),
        "placement": cluster.placement().to_string(),
        "node": cluster.name(),
        "members": seen.members.iter().map(member).collect::<Vec<_>>(),
    });
    match seen.spot {
        Spot::Slot(slot) => told["slot"] = json!(slot),
        Spot::Place(place) => told["point"] = json!(place),
        // A placement that is newer than this program.
        _ => {}
    }
    told.to_string()
}

fn member(at: &AtMember) -> Value {
    let mut told = json!({ "member": &*at.member.name });
    if at.is_self {
        told["self"] = json!(true);
    }
    if let Some(rank) = at.rank {
        told["rank"] = json!(rank + 1);
    }
    match &at.held {
        Ok(held) => told["held"] = held.as_ref().map_or(Value::Null, holding),
        Err(error) => told["error"] = json!(with_causes(error)),
    }
    told
}

fn holding(held: &Holding) -> Value {
    let region = match held.region {
        Region::Owned => "owned",
        _ => "mirror",
    };
    let mut told = json!({
        "region": region,
        "bytes": held.value_bytes,
        "weight": held.weight_bytes,
        "age_ms": ms(held.age),
    });
    if let Some(ttl) = held.ttl {
        told["ttl_ms"] = json!(ms(ttl));
    }
    told
}

fn ms(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use carrotcache::BoxError;

    #[tokio::test]
    async fn a_key_is_told_with_its_slot_and_what_is_held_of_it() {
        let cluster = Cluster::local().start().await.unwrap();
        let load = |_| async { Ok::<_, BoxError>(Some("630")) };
        let group = cluster.group("scores").open(load).unwrap();
        let told = async |key: &str| {
            let seen = group.whereabouts(key).await.unwrap();
            serde_json::from_str::<Value>(&json(&cluster, &group, key.as_bytes(), &seen)).unwrap()
        };
        let before = told("a\nb").await;
        let member = json!({ "member": "local", "self": true, "rank": 1, "held": null });
        let slot = before["slot"].as_u64().unwrap();
        assert!(slot < 1 << 16);
        assert_eq!(
            before,
            json!({
                "group": "scores", "key": "a\\nb", "placement": "slots", "slot": slot, "node": "local",
                "members": [member],
            })
        );
        group.get("a\nb").await.unwrap();
        let after = told("a\nb").await;
        let held = &after["members"][0]["held"];
        assert_eq!((&held["region"], &held["bytes"]), (&json!("owned"), &json!(3)));
        assert!(held["weight"].as_u64().unwrap() > 3 && held["age_ms"].is_u64(), "{held}");
        assert_eq!(held.get("ttl_ms"), None, "it may be served without end");
    }
}
