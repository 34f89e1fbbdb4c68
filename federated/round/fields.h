// The fields of the log's records and of all that they hold, by name, once for both directions: an
// archive is called with each field's name and value.
#pragma once

#include <concepts>
#include <type_traits>

#include "federated/round/records.h"

namespace ds::federated {

template <typename T, typename Plain>
concept Like = std::same_as<std::remove_const_t<T>, Plain>;

template <typename A>
void Fields(A& a, Like<RoundOptions> auto& v) {
  a("rounds", v.rounds);
  a("goal", v.goal);
  a("minimum", v.minimum);
  a("wait_for", v.wait_for);
  a("sample", v.sample);
  a("spare", v.spare);
  a("deadline_s", v.deadline_s);
  a("unmask_deadline_s", v.unmask_deadline_s);
  a("abandoned_in_a_row", v.abandoned_in_a_row);
}
template <typename A>
void Fields(A& a, Like<StrategyOptions> auto& v) {
  a("name", v.name);
  a("server_learning_rate", v.server_learning_rate);
  a("momentum", v.momentum);
  a("second_moment", v.second_moment);
  a("epsilon", v.epsilon);
  a("proximal", v.proximal);
  a("trim", v.trim);
  a("byzantine", v.byzantine);
  a("buffer", v.buffer);
  a("max_staleness", v.max_staleness);
}
template <typename A>
void Fields(A& a, Like<UpdateOptions> auto& v) {
  a("bits", v.bits);
  a("weighting", v.weighting);
  a("samples_reference", v.samples_reference);
  a("declare_samples", v.declare_samples);
  a("error_feedback", v.error_feedback);
  a("rotate", v.rotate);
  a("clip_norm", v.clip_norm);
}
template <typename A>
void Fields(A& a, Like<SecureOptions> auto& v) {
  a("mode", v.mode);
  a("rounds_a_setup", v.rounds_a_setup);
  a("colluders", v.colluders);
  a("threshold", v.threshold);
  a("least_difference", v.least_difference);
  a("refuse_close_sets", v.refuse_close_sets);
}
template <typename A>
void Fields(A& a, Like<PrivacyOptions> auto& v) {
  a("mechanism", v.mechanism);
  a("noise_multiplier", v.noise_multiplier);
  a("delta", v.delta);
  a("epsilon_budget", v.epsilon_budget);
  a("declare_metrics", v.declare_metrics);
}
template <typename A>
void Fields(A& a, Like<RunOptions> auto& v) {
  a("seed", v.seed);
  a("round", v.round);
  a("strategy", v.strategy);
  a("update", v.update);
  a("secure", v.secure);
  a("privacy", v.privacy);
}
template <typename A>
void Fields(A& a, Like<RunOffer> auto& v) {
  a("run", v.run);
  a("name", v.name);
  a("options", v.options);
  a("task", v.task);
  a.Digest("model", v.model);
}
template <typename A>
void Fields(A& a, Like<SiteMetrics> auto& v) {
  a("samples", v.samples);
  a("evaluated", v.evaluated);
  a("correct", v.correct);
  a("train_loss", v.train_loss);
  a("evaluation_loss", v.evaluation_loss);
}
template <typename A>
void Fields(A& a, Like<BlobRef> auto& v) {
  a.Digest("digest", v.digest);
  a("size", v.size);
  a.Bytes("bytes", v.bytes);
}

template <typename A>
void Fields(A& a, Like<RunStarted> auto& v) {
  a("offer", v.offer);
}
template <typename A>
void Fields(A& a, Like<SiteJoined> auto& v) {
  a("site", v.site);
  a("samples", v.samples);
}
template <typename A>
void Fields(A& a, Like<ModelFixed> auto& v) {
  a("samples_reference", v.samples_reference);
  a("maximum_sites", v.maximum_sites);
  a.Digest("digest", v.digest);
  a("values", v.values);
  a("update_bits", v.update_bits);
  a("modulus_bits", v.modulus_bits);
}
template <typename A>
void Fields(A& a, Like<SetupStarted> auto& v) {
  a("epoch", v.epoch);
  a("sites", v.sites);
}
template <typename A>
void Fields(A& a, Like<SecureGiven> auto& v) {
  a("step", v.step);
  a("epoch", v.epoch);
  a("round", v.round);
  a("site", v.site);
  a("payload", v.payload);
}
template <typename A>
void Fields(A& a, Like<KeysClosed> auto& v) {
  a("epoch", v.epoch);
  a("sites", v.sites);
  a("threshold", v.threshold);
}
template <typename A>
void Fields(A& a, Like<SharesAskedAgain> auto& v) {
  a("epoch", v.epoch);
}
template <typename A>
void Fields(A& a, Like<SharesClosed> auto& v) {
  a("epoch", v.epoch);
  a("sites", v.sites);
}
template <typename A>
void Fields(A& a, Like<SetupAbandoned> auto& v) {
  a("epoch", v.epoch);
  a("reason", v.reason);
  a("missing", v.missing);
}
template <typename A>
void Fields(A& a, Like<RoundPlanned> auto& v) {
  a("round", v.round);
  a("base_version", v.base_version);
  a.Digest("base_digest", v.base_digest);
  a("selected", v.selected);
  a("secure_epoch", v.secure_epoch);
  a("secure_index", v.secure_index);
}
template <typename A>
void Fields(A& a, Like<UpdateCommitted> auto& v) {
  a("round", v.round);
  a("site", v.site);
  a("base_version", v.base_version);
  a("update", v.update);
  a("notes", v.notes);
}
template <typename A>
void Fields(A& a, Like<SurvivorsFixed> auto& v) {
  a("round", v.round);
  a("sites", v.sites);
}
template <typename A>
void Fields(A& a, Like<EchoesClosed> auto& v) {
  a("round", v.round);
}
template <typename A>
void Fields(A& a, Like<AnswersClosed> auto& v) {
  a("round", v.round);
}
template <typename A>
void Fields(A& a, Like<PrivacyCharged> auto& v) {
  a("round", v.round);
  a("charge", v.charge);
}
template <typename A>
void Fields(A& a, Like<RoundPublished> auto& v) {
  a("round", v.round);
  a("version", v.version);
  a("published", v.published);
  a.Digest("model_digest", v.model_digest);
  a("metrics", v.metrics);
  a("sites", v.sites);
}
template <typename A>
void Fields(A& a, Like<RoundAbandoned> auto& v) {
  a("round", v.round);
  a("reason", v.reason);
  a("missing", v.missing);
}
template <typename A>
void Fields(A& a, Like<SnapshotTaken> auto& v) {
  a("version", v.version);
  a("blob", v.blob);
}
template <typename A>
void Fields(A& a, Like<StopAsked> auto& v) {
  a("reason", v.reason);
}
template <typename A>
void Fields(A& a, Like<RunEnded> auto& v) {
  a("state", v.state);
  a("reason", v.reason);
}

}  // namespace ds::federated
