"""The IHF-Harmony network: an injective hierarchical flow with artefact-aware normalisation."""
