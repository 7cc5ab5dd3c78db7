from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("markets", "0002_series_held_from")]

    operations = [
        migrations.AddField(
            model_name="job",
            name="not_before",
            field=models.DateTimeField(blank=True, help_text="When a delayed job is tried again.", null=True),
        ),
        migrations.AddField(
            model_name="job",
            name="delayed_since",
            field=models.DateTimeField(blank=True, help_text="Since when the exchange is away unasked.", null=True),
        ),
    ]
