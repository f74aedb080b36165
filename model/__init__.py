"""Archive to trained depth classifier: networks, training, metrics, prediction, benchmark."""
