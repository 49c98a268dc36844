"""Will it fit, bundles for boards, and more than one machine."""
