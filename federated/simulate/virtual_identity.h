// Identities of sites that are simulated: a keyed hash in the place of certificates and signatures,
// as strict about who signed what, and much faster. Worth nothing outside one process.
#pragma once

#include <memory>
#include <string>

#include "federated/secure/secure_agent.h"

namespace ds::federated {

std::shared_ptr<const SiteIdentity> MakeVirtualIdentity(const std::string& site);

}  // namespace ds::federated
