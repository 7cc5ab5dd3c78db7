from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("markets", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="series",
            name="held_from",
            field=models.BigIntegerField(
                blank=True,
                help_text="Open time (UTC ms) of a candle that may come yet; nothing from it on is judged.",
                null=True,
            ),
        ),
    ]
