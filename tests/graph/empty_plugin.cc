// A shared library that is no plugin: it lacks ds_register_models.
extern "C" int ds_not_a_plugin() { return 0; }
