"""The probe: endpoints below /tf-probe/ by which the prover asks a service's own blocks hard questions.

    app = tf.asgi(Probe(tf, app))

It uses nothing but public blocks on tables of its own (`probe_*`), so what holds for it holds for the service. Every
request needs the secret of the deployment (`secret`) in the header `TF-Probe`; without it the probe is not there.
"""
